"""Lists of pictures that say which split of a set of label maps they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from denseclip.datasets.audit_report import Problem
from denseclip.datasets.converters.layout import ConversionError, raise_if_any
from denseclip.datasets.files import read_text
from denseclip.datasets.own_data.splits import ALIASES, split_of
from denseclip.files.pictures import PICTURE_SUFFIXES, globbed

_FOLDERS = ('ImageSets/Segmentation', 'ImageSets', 'splits', 'lists', '')


def read_lists(folder: Path, names: Iterable[str]) -> tuple[dict[str, list[str]], list[Problem]]:
    """Which pictures the lists of a data set name.

    Lists lie in ``ImageSets/Segmentation`` (VOC, CVAT, labelme), ``splits`` or beside the folders; those called
    otherwise than a split (``default.txt``) count only where no split is listed.

    Args:
        folder: The data set.
        names: Names of its pictures without suffix, with the folders below that of the pictures.

    Returns:
        Names by split (``''`` for a set that is not split), nothing where there are no lists; and a problem for each
        line without a picture.

    Raises:
        ConversionError: If a picture stands in two splits.
    """
    places: dict[str, str] = {}
    for name in names:  # a whole name goes before the last part of one
        places.setdefault(name.rpartition('/')[2], name)
    places |= {name: name for name in names}
    for where in _FOLDERS:
        found: dict[str, list[Path]] = {}
        for path in globbed(folder / where, '*.txt'):
            split = split_of(path.stem)
            if split or where.startswith('ImageSets/'):
                found.setdefault(split or '', []).append(path)
        if any(found):
            found.pop('', None)
        if found:
            return _read(found, places)
    return {}, []


def _read(paths: Mapping[str, list[Path]], places: Mapping[str, str]) -> tuple[dict[str, list[str]], list[Problem]]:
    listed: dict[str, list[str]] = {}
    problems = []
    seen: dict[str, str] = {}
    twice = []
    for split in ('', *ALIASES):
        for path in paths.get(split, []):
            for line in filter(None, map(str.strip, read_text(path).splitlines())):
                name = _find(line, places)
                if name is None:
                    problems.append(Problem('missing', f'{path}: names {line!r}, but there is no such picture'))
                elif name not in seen:
                    listed.setdefault(split, []).append(name)
                    seen[name] = split
                elif seen[name] != split:
                    twice.append(f'{name}: listed in {seen[name]} and again in {split}')
    if twice:
        raise_if_any(twice, next(iter(paths.values()))[0].parent)
    if not listed:
        raise ConversionError(f'{next(iter(paths.values()))[0]}: names none of the pictures')
    return listed, problems


def _find(line: str, places: Mapping[str, str]) -> str | None:
    """The picture that a line names: by its name or path, with or without suffix, perhaps before its label map's."""
    for text in (line, line.split()[0], line.split(',')[0]):
        parts = Path(text.strip().strip('"')).parts
        for start in range(len(parts)):
            name = '/'.join(parts[start:])
            for candidate in (name, _without_suffix(name)):
                if candidate in places:
                    return places[candidate]
    return None


def _without_suffix(name: str) -> str:
    suffix = next((s for s in PICTURE_SUFFIXES if name.lower().endswith(s)), '')
    return name[: len(name) - len(suffix)]
