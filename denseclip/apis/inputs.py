"""From what a user names on the command line to a list of pictures, each with a name for its results."""

from __future__ import annotations

import functools
import glob
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from PIL import Image

from denseclip.apis.errors import UserError


def image_suffixes() -> frozenset[str]:
    """Suffixes, in lower case and with the dot, of the formats that Pillow can open."""
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN)


def expand_inputs(items: Iterable[str | Path]) -> list[Path]:
    """Files, folders and patterns to files.

    A folder stands for the pictures in it (told by their suffix, not those of its sub-folders), a pattern such as
    ``'shots/**/*.jpg'`` for what it matches; names with such characters that exist are taken as they are. A file that
    does not exist is kept: reading it reports it without stopping the others.

    Args:
        items: what the user named.

    Returns:
        Paths in the given order, folders and patterns sorted, each file once.

    Raises:
        UserError: if a folder holds no picture, a pattern matches nothing, or nothing was named.
    """
    found: dict[Path, None] = {}
    for item in items:
        path = Path(item)
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in image_suffixes() and p.is_file())
            if not inside:
                raise UserError(
                    f"folder '{item}' holds no pictures (.jpg, .png, ...); name pictures or another folder."
                )
            found.update(dict.fromkeys(inside))
        elif not path.exists() and glob.has_magic(str(item)):
            hits = glob.glob(str(item), recursive=True)  # noqa: PTH207  (Path.glob takes no absolute pattern)
            matches = sorted(path for path in map(Path, hits) if path.is_file())
            if not matches:
                raise UserError(f"no file matches '{item}'; check the pattern and the folder.")
            found.update(dict.fromkeys(matches))
        else:
            found[path] = None
    if not found:
        raise UserError('no picture was named; give files, folders or patterns.')
    return list(found)


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
