"""What programs print: names and words of users are shown, and never steer the terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from denseclip.files.names import shown_lines


class ShownStream:
    """A stream to which everything is written as :func:`~denseclip.files.names.shown_lines` shows it.

    Args:
        stream: Where the text goes; what is asked of it otherwise is its own.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write text with control characters as escapes."""
        self.stream.write(shown_lines(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def plain(stream: Any) -> Any:
    """The stream itself, for those that draw on a terminal."""
    return plain(stream.stream) if isinstance(stream, ShownStream) else stream


def _shown_parts(record: logging.LogRecord, message: str) -> tuple[str, tuple[Any, ...]]:
    """Text and arguments of a record, shown; arguments stay apart where they can, since formatters may look at them."""
    given = record.args
    if not isinstance(given, tuple) or not all(isinstance(value, str | int | float) for value in given):
        return shown_lines(message), ()
    return shown_lines(str(record.msg)), tuple(shown_lines(v) if isinstance(v, str) else v for v in given)


@contextmanager
def shown_output() -> Iterator[None]:
    """Show control characters in all that is printed or logged, and put a mark for what the encoding does not have."""
    before = sys.stdout, sys.stderr
    factory = logging.getLogRecordFactory()

    def record(*args: Any, **options: Any) -> logging.LogRecord:
        made = factory(*args, **options)
        message = made.getMessage()
        if shown_lines(message) != message:
            made.msg, made.args = _shown_parts(made, message)
        return made

    for stream in before:
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='replace')
    sys.stdout, sys.stderr = (ShownStream(plain(stream)) for stream in before)  # type: ignore[assignment]
    logging.setLogRecordFactory(record)
    try:
        yield
    finally:
        logging.setLogRecordFactory(factory)
        sys.stdout, sys.stderr = before
