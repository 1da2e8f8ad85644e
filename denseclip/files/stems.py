"""Names for the results of pictures, one for each, whatever the pictures are called."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path


def output_stems(paths: Sequence[Path]) -> list[str]:
    """A distinct file stem for the results of every picture.

    Usually the picture's own stem. Pictures with equal stems get, as far as it takes to tell them apart, their suffix
    (``car_jpg``, ``car_png``), the names of their folders (``left_car``, ``right_car``), or a number. Letter case does
    not count, because it does not on some file systems.

    Args:
        paths: pictures, each once.

    Returns:
        One stem per path.
    """
    stems = [path.stem for path in paths]
    depth = max((len(_folders(path)) for path in paths), default=0)
    details: list[Callable[[Path], str]] = [_with_suffix]
    for count in range(1, depth + 1):
        details += [functools.partial(_with_folders, count=count, name=name) for name in (_stem, _with_suffix)]
    for detail in details:
        clashes = _clashes(stems)
        candidates = [
            detail(path) if stem.casefold() in clashes else stem for path, stem in zip(paths, stems, strict=True)
        ]
        if not _clashes(candidates):
            return candidates
    return _numbered(stems)


def _clashes(stems: Sequence[str]) -> set[str]:
    return {stem for stem, count in Counter(s.casefold() for s in stems).items() if count > 1}


def _with_suffix(path: Path) -> str:
    return f'{path.stem}_{path.suffix[1:]}' if path.suffix else path.stem


def _stem(path: Path) -> str:
    return path.stem


def _with_folders(path: Path, count: int, name: Callable[[Path], str]) -> str:
    return '_'.join([*_folders(path)[-count:], name(path)])


def _folders(path: Path) -> list[str]:
    return [name for part in path.absolute().parent.parts if (name := part.strip(':\\/'))]


def _numbered(stems: Sequence[str]) -> list[str]:
    taken: set[str] = set()
    result = []
    for stem in stems:
        name, number = stem, 1
        while name.casefold() in taken:
            number += 1
            name = f'{stem}_{number}'
        taken.add(name.casefold())
        result.append(name)
    return result
