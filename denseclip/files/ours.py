"""What a command may replace: only what this program made, and never anything that belongs to a source."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from denseclip.files.scratch import MARKER
from denseclip.version import __version__

NOBODYS = frozenset({'.DS_Store', 'Thumbs.db', 'desktop.ini'})
"""Files that systems strew into folders on their own."""


class ConversionError(ValueError):
    """The source is not what a converter expects, or the target may not be written."""


def check_apart(target: Path, sources: Iterable[Path]) -> Path:
    """Refuse a target that is, contains or lies inside a source.

    Args:
        target: Folder to make.
        sources: Files and folders that are read.

    Returns:
        The target with symbolic links resolved.

    Raises:
        ConversionError: If they touch each other.
    """
    real = target.resolve()
    for source in sources:
        for place in _places(source):
            if real == place:
                raise ConversionError(f'source and target are the same folder: {source}; choose another target')
            if place.is_relative_to(real):
                raise ConversionError(f'the target {target} contains the source {source}; choose another target')
            if real.is_relative_to(place):
                raise ConversionError(
                    f'the target {target} lies inside the source {source}; choose a folder beside or outside it'
                )
    return real


def check_replaceable(target: Path, *, force: bool) -> None:
    """Refuse to write where something is already, unless it may be replaced and we made all of it.

    Args:
        target: Folder to make, symbolic links resolved.
        force: Whether the user allows to replace it.

    Raises:
        ConversionError: If it may not be replaced.
    """
    if not os.path.lexists(target):
        return
    if not force:
        raise ConversionError(f'{target} exists already; pass --force to replace it')
    if not target.is_dir():
        raise ConversionError(f'{target} is a file; nothing was replaced. Choose another target')
    if Path.cwd().is_relative_to(target):
        raise ConversionError(f'{target} is the folder that you are in; nothing was replaced. Choose another target')
    why = _foreign(target)
    if why:
        raise ConversionError(f'{target} {why}: nothing was replaced. Choose another target, or move that away first')


def record(folder: Path) -> None:
    """Mark a complete folder as made by us, with the names of all its files."""
    content = {'made by': f'denseclip {__version__}', 'files': sorted(_files(folder))}
    (folder / MARKER).write_text(json.dumps(content, indent=0) + '\n', encoding='ascii')


def _places(source: Path) -> Iterator[Path]:
    """A source and the folders that links directly in it lead to."""
    yield source.resolve()
    if source.is_dir():
        with os.scandir(source) as entries:
            for entry in entries:
                if entry.is_symlink() and entry.is_dir():
                    yield Path(entry.path).resolve()


def _files(folder: Path) -> Iterator[str]:
    """Files and links below a folder, relative to it, without our mark and what systems strew."""
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in (*names, *links):
            path = (Path(place) / name).relative_to(folder).as_posix()
            if path != MARKER and name not in NOBODYS:
                yield path


def _foreign(folder: Path) -> str:
    """Why a folder is not, or not only, what we made; nothing for ours and for one without files."""
    mark = folder / MARKER
    found = list(_files(folder))
    if not found:
        return ''
    try:
        listed = set(json.loads(mark.read_text(encoding='ascii'))['files'])
        made = mark.stat().st_mtime_ns
    except (OSError, ValueError, TypeError, KeyError):
        return f'was not made by this program (it has no {MARKER})'
    for path in found:
        if path not in listed:
            return f'holds {path}, which was not made by this program'
        if (folder / path).lstat().st_mtime_ns > made:
            return f'holds {path}, which was changed since this program made it'
    return ''
