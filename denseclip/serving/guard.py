"""What stands in front of the application: who may ask, how much, and for how long."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from denseclip.serving.limits import Limits
from denseclip.serving.metrics import Metrics
from denseclip.serving.problems import Problem, problem_response

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

OPEN = ('/', '/page.js', '/page.css', '/icon.svg', '/healthz', '/openapi.json', '/model')
"""Paths that need no token: nothing that anybody has sent is there."""
_PORTS = {'http': 80, 'https': 443}
_DRAINED = 4  # so many times the largest body is read and thrown away, so that the sender reads the answer
_DRAIN_SECONDS = 5.0
_HEADERS = {
    b'cache-control': b'no-store',
    b'referrer-policy': b'no-referrer',
    b'x-content-type-options': b'nosniff',
    b'content-security-policy': (
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}


class Guard:
    """Middleware that answers what must not reach the application.

    Args:
        app: The application.
        limits: What a request may cost.
        metrics: Counts what is answered.
        token: What requests must bring; None: nothing.
        paths: Those that exist; others are counted as one.
    """

    def __init__(self, app: Any, limits: Limits, metrics: Metrics, token: str | None, paths: tuple[str, ...]) -> None:
        self._app, self._limits, self._metrics, self._token, self._paths = app, limits, metrics, token, paths
        self._present = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve a connection."""
        if scope['type'] != 'http':
            await self._app(scope, receive, send)
            return
        path = scope['path'] if scope['path'] in self._paths else 'other'
        start, status = time.perf_counter(), 500

        async def answering(message: Message) -> None:
            nonlocal status
            if message['type'] == 'http.response.start':
                status = message['status']
                kept = [pair for pair in message.get('headers', []) if pair[0].lower() not in _HEADERS]
                message = {**message, 'headers': [*kept, *_HEADERS.items()]}
            await send(message)

        try:
            await self._checked(scope, _Body(receive, self._limits), answering)
        finally:
            self._metrics.requests.labels(path, str(status)).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - start)

    async def _checked(self, scope: MutableMapping[str, Any], body: _Body, send: Send) -> None:
        headers = {name.lower(): value for name, value in scope['headers']}
        try:
            self._check_sender(scope, headers)
            body.check_length(headers.get(b'content-length'))
            if scope['method'] == 'POST':
                self._check_room()
        except Problem as problem:
            await body.drain()
            await problem_response(problem.status_code, problem.detail, problem.headers)(scope, body, send)
            return
        if scope['method'] != 'POST':
            await self._app(scope, body, send)
            return
        self._present += 1
        self._metrics.present.set(self._present)
        try:
            scope.setdefault('state', {})['deadline'] = body.deadline
            await self._app(scope, body, send)
        finally:
            self._present -= 1
            self._metrics.present.set(self._present)

    def _check_sender(self, scope: MutableMapping[str, Any], headers: dict[bytes, bytes]) -> None:
        if scope['method'] == 'POST' and _is_from_elsewhere(headers, scope.get('scheme', 'http')):
            raise Problem(403, 'this request comes from a page of another site; ask from the page of this server.')
        if self._token is None or scope['path'] in OPEN:
            return
        kind, _, given = headers.get(b'authorization', b'').partition(b' ')
        if kind.lower() != b'bearer' or not hmac.compare_digest(given.strip(), self._token.encode()):
            raise Problem(
                401,
                'this server wants a token: send the header "Authorization: Bearer TOKEN" with the one that it was '
                'started with.',
                {'www-authenticate': 'Bearer'},
            )

    def _check_room(self) -> None:
        if self._present >= self._limits.requests:
            raise Problem(
                429,
                f'{self._present} requests are at work or wait, as many as this server takes (--queue): try again in a '
                'few seconds.',
                {'retry-after': '2'},
            )


def _is_from_elsewhere(headers: dict[bytes, bytes], scheme: str) -> bool:
    """Whether a page of another place sent a request through a visitor's browser."""
    site = headers.get(b'sec-fetch-site')
    if site in (b'cross-site', b'same-origin'):  # the browser knows, whatever a proxy makes of Host
        return site == b'cross-site'
    # Without TLS it does not say so, but where the page is from.
    return b'origin' in headers and not _same_place(headers, scheme)


def _same_place(headers: dict[bytes, bytes], scheme: str) -> bool:
    """Whether ``Origin`` names the host and port that the request was sent to."""
    try:
        origin = urlsplit(headers[b'origin'].decode('latin-1').strip())
        usual = _PORTS.get(origin.scheme, _PORTS.get(scheme))
        host = urlsplit('//' + headers.get(b'host', b'').decode('latin-1').strip())
        return bool(origin.hostname) and (origin.hostname, origin.port or usual) == (host.hostname, host.port or usual)
    except ValueError:  # no address
        return False


class _Body:
    """The body of a request, which ends where it becomes too long or takes too much time."""

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive, self._limits = receive, limits
        self._got, self._ended = 0, False
        self.deadline = time.monotonic() + limits.seconds

    def check_length(self, length: bytes | None) -> None:
        """Refuse what says itself that it is too long.

        Raises:
            Problem: Then.
        """
        if length is not None and length.isdigit() and int(length) > self._limits.bytes:
            raise self._too_long()

    def _too_long(self) -> Problem:
        return Problem(
            413,
            f'the request is larger than the {self._limits.megabytes:g} MB that this server takes (--max-megabytes): '
            'send a smaller picture.',
        )

    async def __call__(self) -> Message:
        """The next part.

        Raises:
            Problem: If the body is too long, or took too much time.
        """
        if self._ended:  # whoever still asks waits for the sender to go away
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self.deadline - time.monotonic()))
        except asyncio.TimeoutError as error:
            raise Problem(
                408, f'the upload took more than {self._limits.seconds:g} s (--timeout): send a smaller picture.'
            ) from error
        if message['type'] == 'http.request':
            self._got += len(message.get('body', b''))
            self._ended = not message.get('more_body', False)
            if self._got > self._limits.bytes:
                await self.drain()
                raise self._too_long()
        return message

    async def drain(self) -> None:
        """Throw away what is still to come, as far as that is reasonable: then the sender reads the answer."""
        stop = time.monotonic() + _DRAIN_SECONDS
        while not self._ended and self._got < _DRAINED * self._limits.bytes and time.monotonic() < stop:
            try:
                message = await asyncio.wait_for(self._receive(), max(0.0, stop - time.monotonic()))
            except asyncio.TimeoutError:
                return
            self._got += len(message.get('body', b''))
            self._ended = message['type'] != 'http.request' or not message.get('more_body', False)
