"""Tar files from the first member to the end: ``tarfile`` takes a damaged header for the end, and says nothing."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from typing_extensions import Self

_BLOCK = 2**16


class BadEndError(tarfile.ReadError):
    """All members up to here are whole, but there is no end (it was cut, or never finished), or one too early."""


class _Entry(tarfile.TarInfo):
    """A member whose header is whole: to tarfile any other than the first one means that the archive ends."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        """See there.

        Raises:
            ReadError: If there is something else.
        """
        try:
            return super().fromtarfile(archive)
        except (tarfile.HeaderError, ValueError, OverflowError) as error:
            if type(error).__name__ == 'EOFHeaderError':
                raise
            if type(error).__name__ == 'EmptyHeaderError':
                raise BadEndError('it has no end') from error
            raise tarfile.ReadError(str(error)) from error


def open_tar(file: IO[bytes], mode: Literal['r|*', 'r:']) -> tarfile.TarFile:
    """An archive for :func:`tar_members`.

    Args:
        file: At its beginning.
        mode: ``'r|*'`` reads it once from front to back, compressed or not; ``'r:'`` skips contents, not compressed.

    Raises:
        ReadError: If it does not begin as a tar does.
    """
    return tarfile.open(fileobj=file, mode=mode, tarinfo=_Entry)


def tar_members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """All members, and then a look at the end.

    Args:
        archive: Of :func:`open_tar`.

    Raises:
        BadEndError: If it has no end, or goes on behind it: some was wiped out, or several were joined.
        ReadError: If it is damaged, or cut within a member.
    """
    yield from archive
    while rest := archive.fileobj.read(_BLOCK):  # type: ignore[union-attr]
        if rest.strip(b'\0'):
            raise BadEndError('it goes on behind its end')
