"""Names of files in words: some systems allow names that are no text."""

from __future__ import annotations

import os
from pathlib import Path


def readable(name: object) -> str:
    r"""A name, or a message with names in it, as text that can be written anywhere.

    Bytes of a file name that are not UTF-8 become ``\xNN``, as in Python's ``backslashreplace``; all else stays.
    """
    text = os.fspath(name) if isinstance(name, Path) else str(name)
    return text.encode('utf-8', 'surrogateescape').decode('utf-8', 'backslashreplace')
