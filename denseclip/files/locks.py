"""Folders that one process at a time works in; the system gives the lock back when the process dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing keeps two processes apart
    fcntl = None  # type: ignore[assignment]


class LockedError(OSError):
    """Another process works in the folder."""


def lock_folder(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock until it is closed; None where the file system knows no locks.

    Raises:
        BlockingIOError: If another process holds it.
        OSError: If there is no such folder or it cannot be opened.
    """
    if fcntl is None:
        return None
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise
    except OSError:
        os.close(handle)
        return None
    return handle


def create_locked(path: Path) -> int | None:
    """Make an empty file that is this writer's alone until the descriptor is closed; wait for another one's end.

    Returns:
        The descriptor; None where the file system knows no locks, and the file need not be there then.

    Raises:
        OSError: If it cannot be made.
    """
    while fcntl is not None:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:
            os.close(handle)
            return None
        if _is_still(path, handle):
            os.ftruncate(handle, 0)
            return handle
        os.close(handle)  # the one before has given the file its name
    return None


def _is_still(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def taking_turns(path: Path) -> Iterator[None]:
    """Wait for whoever is in a block of the same file's; where the file system knows no locks, nobody waits.

    Args:
        path: File that is there as long as somebody is in the block; nothing is in it.

    Raises:
        OSError: If it cannot be made.
    """
    lock = create_locked(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # before the lock goes: those who wait see that the file is another one
        if lock is not None:
            os.close(lock)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock.

    Raises:
        LockedError: If another process holds it.
    """
    try:
        handle = lock_folder(folder)
    except BlockingIOError as error:
        raise LockedError(error.errno, error.strerror, str(folder)) from error
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)
