"""A server that runs until it is stopped."""

from __future__ import annotations

import ipaddress
import logging
import signal
import socket
from collections.abc import Mapping
from typing import Any

from denseclip.apis.errors import UserError
from denseclip.apis.predictor import Predictor
from denseclip.serving.limits import Limits


def check_packages() -> None:
    """Say what is missing.

    Raises:
        ImportError: If a package of the extra ``serve`` is not installed.
    """
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"serving needs the package {error.name}, which is not installed: pip install 'denseclip-suite[serve]'"
        ) from error


def check_place(host: str, port: int, token: str | None, is_open: bool) -> None:
    """Refuse a place that cannot be listened on, or that strangers reach without a token.

    Raises:
        UserError: Then.
    """
    if not 0 <= port <= 65535:
        raise UserError(f'--port {port} must be between 0 and 65535; 0 takes any that is free.')
    if token is not None and (len(token) < 8 or not token.isascii() or not token.isprintable() or ' ' in token):
        raise UserError('the token must be 8 or more printable ASCII characters without spaces.')
    if token is not None and is_open:
        raise UserError('--token and --no-token exclude each other: leave one of them out.')
    if token is None and not is_open and not is_own(host):
        raise UserError(
            f'--host {host} lets other machines ask: set a token (--token TOKEN or DENSECLIP_TOKEN), or say --no-token.'
        )


def is_own(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'


def bound(host: str, port: int) -> socket.socket:
    """A socket at a place.

    Raises:
        UserError: If there is no such place, or it is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        place = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UserError(f'--host {host} is no address of this machine ({error.strerror or error}).') from error
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        place.bind(address)
    except OSError as error:
        place.close()
        raise UserError(
            f'cannot listen on {host}:{port} ({error.strerror}): choose another --port (0: any that is free) or --host.'
        ) from error
    return place


def address_of(place: socket.socket) -> str:
    """Where a socket listens, as a URL."""
    host, port = place.getsockname()[:2]
    return f'http://[{host}]:{port}/' if ':' in host else f'http://{host}:{port}/'


def serve(
    model: Predictor,
    name: str,
    place: socket.socket,
    limits: Limits | None = None,
    token: str | None = None,
    *,
    needs_words: bool = False,
    beside: Mapping[str, Predictor] | None = None,
    log_level: str = 'info',
) -> None:
    """Serve a model until SIGTERM or Ctrl-C; requests that have begun are answered first.

    Args:
        model: Any of ``load_model``, or an exported one.
        name: What it is called.
        place: See :func:`bound`.
        limits: What a request may cost.
        token: What requests must bring; None: nothing.
        needs_words: Whether the model brings no classes of its own; those beside it are taken for alike.
        beside: Further models by their names, to be compared with the first.
        log_level: Of uvicorn.

    Raises:
        KeyboardInterrupt: After Ctrl-C.
        UserError: If models cannot stand beside each other.
    """
    import uvicorn

    from denseclip.serving.app import make_app
    from denseclip.serving.metrics import Metrics
    from denseclip.serving.service import Service

    limits = limits or Limits()
    metrics = Metrics()
    service, *others = (
        Service(one, title, limits, needs_words=needs_words, told=metrics.batches.observe)
        for title, one in ((name, model), *(beside or {}).items())
    )
    logging.getLogger('denseclip.serving').setLevel(logging.INFO)
    config = uvicorn.Config(
        make_app(service, metrics, token, others),
        log_level=log_level,
        lifespan='on',
        ws='none',
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(limits.seconds) + 1,
    )

    def ended(*_: Any) -> None:
        """What uvicorn raises again when it is done: that is no error."""

    before = signal.signal(signal.SIGTERM, ended)
    try:
        uvicorn.Server(config).run([place])
    finally:
        signal.signal(signal.SIGTERM, before)
        place.close()
