"""A server on this machine that gives one file, with manners that can be changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """A local server whose manners can be changed.

    Attributes:
        content: What it gives.
        stop_after: Bytes after which it breaks the connection, once.
        ranges: Whether it can give a part.
        etag: Its mark of the content.
        pause: Seconds that it takes to find the content.
        asked: The ``Range`` header of every request.
    """

    content: bytes
    stop_after: int | None = None
    ranges: bool = True
    etag: str | None = None
    pause: float = 0.0
    url: str = ''
    asked: list[str | None] = field(default_factory=list)


@contextmanager
def serving(content: bytes, name: str = 'weights.pth') -> Iterator[Server]:
    """A server of one file on this machine."""
    state = Server(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get('Range')
            state.asked.append(wanted)
            same = self.headers.get('If-Range') in (None, state.etag)
            start = int(wanted.removeprefix('bytes=').rstrip('-')) if wanted and state.ranges and same else 0
            if start and start >= len(state.content):
                self.send_error(416)
                return
            time.sleep(state.pause)
            part = state.content[start:]
            self.send_response(206 if start else 200)
            self.send_header('Content-Length', str(len(part)))
            if state.etag:
                self.send_header('ETag', state.etag)
            self.end_headers()
            if state.stop_after is not None:
                part, state.stop_after = part[: state.stop_after], None
            self.wfile.write(part)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    state.url = f'http://127.0.0.1:{http.server_port}/{name}'
    thread = threading.Thread(target=http.serve_forever, kwargs={'poll_interval': 0.01}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        http.shutdown()
        http.server_close()
