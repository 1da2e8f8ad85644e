"""Names and messages in words: some systems allow names that are no text, and names that steer a terminal."""

from __future__ import annotations

import os
import re
from pathlib import Path

_CONTROLS = re.compile(
    '[\x00-\x1f\x7f-\x9f'  # C0 with escape, delete, C1
    '\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069'  # marks that turn the direction of what follows
    '\u2028\u2029]'  # line and paragraph separators
)
_LEVEL = re.compile(r'((?:\x1b\[\d+m)+(?:DEBUG|INFO|WARNING|ERROR)\x1b\[0m)')


def readable(name: object) -> str:
    r"""A name, or a message with names in it, as text that can be written anywhere.

    Bytes of a file name that are not UTF-8 become ``\xNN``, as in Python's ``backslashreplace``; all else stays.
    """
    text = os.fspath(name) if isinstance(name, Path) else str(name)
    try:
        return text.encode('utf-8', 'surrogateescape').decode('utf-8', 'backslashreplace')
    except UnicodeEncodeError:  # surrogates that stand for no byte, as JSON can hold them
        return text.encode('utf-8', 'backslashreplace').decode()


def shown(text: object, keep: str = '') -> str:
    r"""The same for eyes, on a terminal or a page: what would steer it is written as ``\x1b``, ``\n`` or ``\u202e``.

    A line break in a name is escaped, too, so the result is one line.

    Args:
        text: A name, or a message.
        keep: Control characters that stay.
    """
    return _CONTROLS.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), readable(text))


def shown_lines(text: str) -> str:
    """What a program prints: as :func:`shown`, but with its line breaks and tabs.

    The return to the beginning of a line with which a progress bar begins, and the colours of a logger's level stay.
    """
    begin = '\r' if text.startswith('\r') else ''
    parts = _LEVEL.split(text[len(begin) :])
    return begin + ''.join(part if place % 2 else shown(part, '\n\t') for place, part in enumerate(parts))


def _escape(character: str) -> str:
    return character.encode('unicode_escape').decode('ascii')
