"""Faults that strike a server while people ask: nobody gets a wrong answer, and it ends and starts as it should."""

from __future__ import annotations

import io
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import harness
import httpx
from commands import CLIP
from harness import Place, Row
from PIL import Image

LINE = ['serve', '--model', 'maskclip', '--clip', CLIP, '--port', '0']
_SECONDS = 120
_LARGE = 16
"""Times as high and as wide as a small picture."""


class Server:
    """A server in a process of its own.

    Args:
        place: Its folders.
        fault: Kind of :class:`injection.Watch`, struck when a file called ``now`` appears.
    """

    def __init__(self, place: Place, fault: str = '') -> None:
        for folder in (place.disk, place.temp, place.cache):
            folder.mkdir(parents=True, exist_ok=True)
        self.place, self.logs = place, [place.here / name for name in ('stdout', 'stderr', 'writes')]
        self.logs[0].write_text('')
        disk = str(place.temp if fault == 'full' else place.disk)
        plan = {'folder': str(place.disk), 'disk': disk, 'fault': fault, 'moment': 0, 'report': str(self.logs[2])}
        plan['sign'] = str(place.here / 'now')
        env = {'DENSECLIP_CACHE': str(place.cache), 'TMPDIR': str(place.temp)}
        self.process = harness._fork(LINE, plan, env, place, self.logs)
        self.address = self._address()

    def _address(self) -> str:
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end:
            found = [line.split()[1] for line in self.logs[0].read_text().splitlines() if line.startswith('page ')]
            if found:
                return found[0]
            time.sleep(0.05)
        raise RuntimeError(f'the server does not come up: {self.logs[1].read_text()[-1000:]}')

    def strike(self) -> None:
        """Let the fault happen."""
        (self.place.here / 'now').touch()
        time.sleep(0.3)

    def ask(self, number: int = 0, content: bytes | None = None) -> httpx.Response:
        """Ask for a picture."""
        picture = content if content is not None else drawn(number)
        with self._client() as client:
            return client.post(
                'segment', data={'words': f'sky; road; word {number}'}, files={'image': ('a.png', picture)}
            )

    def wait_for(self, requests: int) -> None:
        """Wait until so many requests are in work or in line."""
        line, end = f'denseclip_requests_present {float(requests)}', time.monotonic() + _SECONDS
        with self._client() as client:
            while line not in client.get('metrics').text:
                if time.monotonic() > end:
                    raise RuntimeError(f'there were never {requests} requests at one time')

    def _client(self) -> httpx.Client:
        # it listens a moment after it has said where
        return httpx.Client(base_url=self.address, timeout=_SECONDS, transport=httpx.HTTPTransport(retries=8))

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it, and give its exit code."""
        os.kill(self.process, number)
        return self.wait()

    def wait(self) -> int:
        """Its exit code."""
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


def drawn(number: int, times: int = 1) -> bytes:
    """A picture; so many times as high and as wide as a small one."""
    out, size = io.BytesIO(), ((64 + 8 * (number % 4)) * times, 48 * times)
    Image.linear_gradient('L').resize(size).convert('RGB').save(out, 'PNG')
    return out.getvalue()


def told(answer: httpx.Response) -> Any:
    """What an answer says of the picture."""
    return answer.status_code, answer.json().get('areas'), answer.json().get('objects')


def rows(root: Path, world: Path) -> Iterator[Row]:
    """Every fault of a server."""
    place = Place(root / 'server', world)
    server = Server(place)
    right = [told(server.ask(number)) for number in range(4)]
    yield _in_the_middle(server, 'kill -9', signal.SIGKILL, (-9,), right)
    server = Server(place)
    yield _in_the_middle(server, 'SIGTERM', signal.SIGTERM, (0,), right)
    server = Server(place)
    yield _in_the_middle(server, 'Ctrl-C', signal.SIGINT, (130,), right)
    server = Server(place)
    yield _asked(server, 'a picture is cut off', right, lambda: server.ask(0, drawn(0)[:60]))
    yield _asked(server, 'who asks hangs up', right, lambda: hang_up(server))
    server.end()
    with harness.mounted(place.temp, 4) as is_mounted:
        if is_mounted:
            server = Server(place, 'full')
            yield _asked(server, 'disk of temporary files full', right, server.strike)
            server.end()
    server = Server(place, 'clock')
    yield _asked(server, 'clock jumps back 400 days', right, server.strike)
    server.end()


def _in_the_middle(server: Server, name: str, number: int, codes: tuple[int, ...], right: list[Any]) -> Row:
    """A signal while eight requests are in work or in line; then another start answers alike."""
    row = Row('serve', name, 'during 8 requests', '')
    pictures = [drawn(place, _LARGE) for place in range(4)]  # which take long enough to be found at work
    wanted = [told(server.ask(place, picture)) for place, picture in enumerate(pictures)]
    answers: list[Any] = []

    def ask(place: int) -> None:
        try:
            answers.append((place, told(server.ask(place % 4, pictures[place % 4]))))
        except httpx.HTTPError as error:
            answers.append((place, type(error).__name__))

    people = [threading.Thread(target=ask, args=(place,)) for place in range(8)]
    for person in people:
        person.start()
    server.wait_for(len(people))
    before = len(answers)
    code = server.end(number)
    for person in people:
        person.join()
    good = [place for place, answer in answers if answer == wanted[place % 4]]
    cut = [answer for _, answer in answers if isinstance(answer, str)]
    row.ended = f'{signal.Signals(-code).name if code < 0 else code}: {len(good)} answered, {len(cut)} cut off'
    if code not in codes:
        row.complaints.append(f'exit code {code}: {server.logs[1].read_text()[-300:]}')
    if len(good) + len(cut) != 8:
        row.complaints.append(f'wrong answers: {answers}')
    if code >= 0 and cut:
        row.complaints.append('requests had begun, and were cut off')
    if before:
        row.complaints.append(f'{before} requests were answered before the signal')
    if 'Traceback' in server.logs[1].read_text():
        row.complaints.append(f'a traceback: {server.logs[1].read_text()[-300:]}')
    again = Server(server.place)
    row.again = _compared(again, right, row)
    again.end()
    return row


def _asked(server: Server, name: str, right: list[Any], fault: Callable[[], Any]) -> Row:
    """Something happens to one request; the next ones get their answers."""
    row = Row('serve', name, 'between requests', '')
    answer = fault()
    row.ended = 'goes on'
    if isinstance(answer, httpx.Response):
        row.ended = f'{answer.status_code}: {answer.json()["detail"]}'
        if not 400 <= answer.status_code < 500:
            row.complaints.append(f'status {answer.status_code}')
    row.again = _compared(server, right, row)
    return row


def _compared(server: Server, right: list[Any], row: Row) -> str:
    found = [told(server.ask(number)) for number in range(4)]
    if found != right:
        row.complaints.append(f'other answers: {found} instead of {right}'[:400])
        return 'other answers'
    return 'answers as before'


def hang_up(server: Server) -> None:
    """Begin to send a picture, and go away."""
    host, port = server.address.removeprefix('http://').rstrip('/').split(':')
    with socket.create_connection((host, int(port)), timeout=20) as line:
        line.sendall(b'POST /segment HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=x\r\n')
        line.sendall(b'Content-Length: 100000\r\n\r\n--x\r\nContent-Disposition: form-data; name="image"\r\n\r\nabc')
