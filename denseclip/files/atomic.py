"""Files that are either the old one or the new one, whatever happens while they are written."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from denseclip.files.locks import create_locked

PARTIAL_SUFFIX = '.partial'
NO_ROOM = frozenset({errno.ENOSPC, getattr(errno, 'EDQUOT', errno.ENOSPC), errno.EFBIG})
"""Errors of a disk that takes no more."""
_LONGEST = 240  # bytes of a name that leave room for its sign
# What torch.save says, without naming a cause, when the disk takes no more.
_TORCH_WRITER = re.compile(r'inline_container|PytorchStreamWriter|unexpected pos|iostream error')


def partial_name(name: str) -> str:
    """Name of the unfinished file that will become ``name``; hidden, and in the same folder, so that renaming works."""
    if len(os.fsencode(name)) > _LONGEST:  # with what is added it would be longer than file systems take
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return f'.{name}{PARTIAL_SUFFIX}'


def commit(partial: Path, final: Path) -> None:
    """Make a completely written file appear under its final name.

    The content reaches the disk before the name does, and the name before this returns: after a power cut, too, the
    folder holds the old file or the new one.

    Args:
        partial: The written file.
        final: Its name from now on, in the same folder; an older file there is replaced.
    """
    with partial.open('rb') as file:
        os.fsync(file.fileno())
    partial.replace(final)
    _sync_folder(final.parent)


@contextmanager
def replacing(final: Path) -> Iterator[Path]:
    """Write a file under another name; it gets its own when it is whole, and an unfinished one is removed.

    The other name is always the same: what a killed writer leaves is written over by the next one. Two that write the
    same file do so one after the other.

    Args:
        final: The file; an older one is replaced. Its folder must exist.

    Yields:
        What to write to.

    Raises:
        OSError: It cannot be written; names the file, also where the writer (torch's, Pillow's) did not.
    """
    partial = final.with_name(partial_name(final.name))
    lock, done = None, False
    try:
        lock = create_locked(partial)
        yield partial
        commit(partial, final)
        done = True
    except OSError as error:
        if error.filename is None or str(error.filename) == str(partial):
            error.filename = str(final)
        raise
    except RuntimeError as error:
        if type(error) is not RuntimeError or not _TORCH_WRITER.search(str(error)):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(final)) from error
    finally:
        if not done:  # afterwards the name may be the next writer's
            partial.unlink(missing_ok=True)
        if lock is not None:
            os.close(lock)


def write_text(path: Path, text: str) -> None:
    """Write a small text file atomically.

    Args:
        path: The file.
        text: Its content.
    """
    with replacing(path) as partial:
        partial.write_text(text, encoding='utf-8')


def remove_partial_files(folder: Path) -> list[Path]:
    """Delete what killed writers left behind.

    Args:
        folder: Where checkpoints are written.

    Returns:
        The deleted files.
    """
    leftovers = sorted(folder.glob(f'.*{PARTIAL_SUFFIX}'))
    for path in leftovers:
        path.unlink(missing_ok=True)
    return leftovers


def _sync_folder(folder: Path) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # some systems do not open folders; the rename itself is still atomic there
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
