"""Whether a zip archive is the one that was written: every member has the sum that the archive says it has."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from pathlib import Path

# What reading damaged bytes ends in; RuntimeError is an encrypted member, OSError is bzip2's word.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    ValueError,
    LookupError,
    RuntimeError,
    EOFError,
    OSError,
)


class DamagedArchiveError(ValueError):
    """Bytes of an archive are others than those that were written."""


def require_whole(path: Path) -> None:
    """Compare all members of a zip archive with their CRC-32, which ``torch.load`` does not do.

    A damaged tensor is a tensor all the same: without this a flipped bit is a wrong weight, and nobody is told.
    Archives that were written without sums (``torch.serialization.set_crc32_options(False)``) cannot be compared, and
    files that are no zip archives are left alone.

    Args:
        path: A file.

    Raises:
        DamagedArchiveError: A member has another sum, or the directory of the archive cannot be read.
    """
    with path.open('rb') as file:
        if not file.read(2).startswith(b'PK'):
            return
    try:
        with zipfile.ZipFile(path) as archive:
            if not any(member.CRC for member in archive.infolist()):
                return
            damaged = archive.testzip()
    except _DAMAGE as error:
        raise DamagedArchiveError(str(error) or type(error).__name__) from error
    if damaged is not None:
        raise DamagedArchiveError(f"the sum of its part '{damaged}' (CRC-32) is another one")
