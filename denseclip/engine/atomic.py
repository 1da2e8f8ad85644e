"""Files that are either the old one or the new one, whatever happens while they are written."""

from __future__ import annotations

import os
from pathlib import Path

PARTIAL_SUFFIX = '.partial'


def partial_name(name: str) -> str:
    """Name of the unfinished file that will become ``name``; hidden, and in the same folder, so that renaming works."""
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


def write_text(path: Path, text: str) -> None:
    """Write a small text file atomically.

    Args:
        path: The file.
        text: Its content.
    """
    partial = path.with_name(partial_name(path.name))
    partial.write_text(text, encoding='utf-8')
    commit(partial, path)


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
