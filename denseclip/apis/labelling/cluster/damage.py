"""What tells a damaged file from a store that does not answer: Arrow raises ``OSError`` for both."""

from __future__ import annotations

import tarfile
import zlib

import pyarrow as pa


def is_damage(error: Exception) -> bool:
    """Whether the content of a table or an archive is to blame, which no second try mends.

    Arrow's error for a page that cannot be unpacked is a plain ``OSError`` without a number; those of systems and
    stores have one, or a class of their own.
    """
    if isinstance(error, MemoryError):  # Arrow's, too
        return False
    if isinstance(error, tarfile.TarError | EOFError | zlib.error | UnicodeDecodeError | pa.ArrowException):
        return True
    return type(error) is OSError and error.errno is None
