"""What tells a damaged file from a disk or a store that does not answer: several readers raise ``OSError`` for both."""

from __future__ import annotations

import sys
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def is_damage(error: BaseException) -> bool:
    """Whether the content of a table or an archive is to blame, which no second try mends.

    Arrow's error for a page that cannot be unpacked is a plain ``OSError`` without a number; those of systems and
    stores have one, or a class of their own.
    """
    if isinstance(error, MemoryError):  # Arrow's, too
        return False
    if isinstance(error, tarfile.TarError | EOFError | zlib.error | UnicodeDecodeError):
        return True
    arrow: Any = sys.modules.get('pyarrow')  # who has not imported it has no error of it
    if arrow is not None and isinstance(error, arrow.ArrowException):
        return True
    return type(error) is OSError and error.errno is None


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of a disk get the name of the file that was read, where its reader left it out."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
