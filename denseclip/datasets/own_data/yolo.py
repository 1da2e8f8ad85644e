"""Boxes and polygons in YOLO's text files: ``class x y width height`` or ``class x1 y1 x2 y2 ...``, in shares."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from denseclip.datasets.converters.layout import ConversionError, raise_if_any
from denseclip.datasets.files import read_text
from denseclip.datasets.own_data.class_files import by_line
from denseclip.datasets.own_data.data import BoxData, Conversion
from denseclip.datasets.own_data.pictures import (
    Found,
    FoundObject,
    FoundPicture,
    as_box_data,
    measure,
)
from denseclip.datasets.own_data.splits import ALIASES, split_of
from denseclip.files.pictures import PICTURE_SUFFIXES, files_of, globbed

_LISTS_OF_NAMES = ('obj.names', 'classes.txt', 'labels/classes.txt', 'train/classes.txt', 'names.txt')
_PROBES = 20
_SLACK = 0.01  # of a side: what a coordinate may lie outside by rounding


def yolo_pictures(folder: Path) -> list[Path]:
    """Pictures of a data set in YOLO's layout; none if it is another.

    Args:
        folder: ``images/`` and ``labels/`` (each with a folder for a split, or the other way round), or text files
            beside the pictures.
    """
    pictures = files_of(folder, PICTURE_SUFFIXES, deep=True)
    labelled = [path for path in pictures if _labels_of(path, folder).is_file()]
    probes = [_looks_right(_labels_of(path, folder)) for path in labelled[:_PROBES]]
    if not labelled or 2 * sum(probes) < len(probes):  # a few lines may be damaged, which reading names
        return []
    return pictures


def _labels_of(picture: Path, folder: Path) -> Path:
    """Text file of a picture: beside it, or with ``labels`` for the last ``images`` in its path."""
    parts = list(picture.relative_to(folder).with_suffix('.txt').parts)
    for place in reversed(range(len(parts) - 1)):
        if parts[place] == 'images':
            parts[place] = 'labels'
            break
    return folder.joinpath(*parts)


def _looks_right(path: Path) -> bool:
    try:
        lines = read_text(path).split('\n')
        return all(
            len(line.split()) >= 5 and math.isfinite(sum(map(float, line.split()))) for line in lines if line.strip()
        )
    except (OSError, ValueError):
        return False


def from_yolo(folder: Path, pictures: Sequence[Path], conversion: Conversion) -> BoxData:
    """A data set in YOLO's layout, made COCO's in ``conversion.target``; pictures without a text file have no objects.

    Args:
        folder: The data set.
        pictures: Its pictures, see :func:`yolo_pictures`.
        conversion: How files are made.

    Raises:
        ConversionError: Names are lacking, or files are damaged.
    """
    about, source = _read_yaml(folder)
    names = _class_names(folder, about, source)
    keypoints = about.get('kpt_shape') or [0]
    values = math.prod(keypoints) if all(isinstance(n, int) for n in keypoints) else 0
    splits, notes = _splits(folder, pictures, about, source)
    notes = [f'class names are those of {source}', *notes, *_orphans(folder, pictures)]
    problems = _shared_labels(folder, pictures)
    outside = splits.pop('all', []) if 'train' in splits else []  # without a text file they would be empty
    if outside:
        first = outside[0].relative_to(folder).as_posix()
        notes.append(f'{len(outside)} pictures outside the folders of splits are left out, such as {first}')
    found: dict[str, list[FoundPicture]] = {}
    for split, listed in splits.items():
        found[split] = []
        for path in listed:
            try:
                found[split].append(_picture(folder, path, names, values))
            except ConversionError as error:
                problems += str(error).split('\n')
    raise_if_any(problems, folder)
    classes = [names[number] for number in sorted(names)]
    return as_box_data(Found(classes, found, notes), conversion)


def _read_yaml(folder: Path) -> tuple[dict[str, Any], Path | None]:
    """The description of the data set, and its file."""
    for path in sorted(globbed(folder, '*.yaml', '*.yml'), key=lambda path: path.stem != 'data'):
        try:
            content = yaml.safe_load(read_text(path))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise ConversionError(f'{path}: is no readable YAML ({str(error).splitlines()[0]})') from error
        if isinstance(content, dict) and 'names' in content:
            return content, path
    for name in _LISTS_OF_NAMES:
        if (folder / name).is_file():
            return {}, folder / name
    return {}, None


def _class_names(folder: Path, about: Mapping[str, Any], source: Path | None) -> dict[int, str]:
    """Names by id."""
    if source is None:
        raise ConversionError(
            f"{folder}: text files as YOLO's, but neither data.yaml, classes.txt nor obj.names says what the ids "
            'are called; add classes.txt with a name a line'
        )
    given = about.get('names')
    if given is None:
        given = by_line(source)
    try:
        pairs = [*(given.items() if isinstance(given, dict) else enumerate(given))]
        names = {int(number): str(name).strip() for number, name in pairs}
    except (TypeError, ValueError):
        pairs, names = [], {}
    for number, name in pairs:  # YAML reads no and yes as truth values, and nothing as null
        if isinstance(name, bool) or not isinstance(name, str | int | float) or not str(name).strip():
            raise ConversionError(f'{source}: class {number} has the name {name!r:.40}; write it as text in quotes')
    double = {name for name in names.values() if list(names.values()).count(name) > 1}
    if not names or double:
        what = f'the name "{min(double)}" stands there twice' if double else 'it is no list of names'
        raise ConversionError(f'{source}: names of the classes cannot be read: {what}')
    return names


def _shared_labels(folder: Path, pictures: Sequence[Path]) -> list[str]:
    """Pictures that only their endings tell apart, so that one text file would be of both."""
    first: dict[Path, Path] = {}
    problems = []
    for path in pictures:
        labels = _labels_of(path, folder)
        other = first.setdefault(labels, path)
        if other != path and labels.is_file():
            problems.append(f'{other} and {path} have one file of labels, {labels}; rename one with its own')
    return problems


def _orphans(folder: Path, pictures: Sequence[Path]) -> list[str]:
    """A note about text files that would be labels, had they a picture."""
    used = {_labels_of(path, folder) for path in pictures}
    places = {path.parent for path in used if path.is_file()}
    lists = {Path(name).name for name in _LISTS_OF_NAMES}
    lone = [
        path
        for place in sorted(places)
        for path in globbed(place, '*.txt')
        if path not in used and path.name not in lists and split_of(path.stem) is None and _looks_right(path)
    ]
    return [f'{len(lone)} files of labels have no picture and are left out, such as {lone[0]}'] if lone else []


def _splits(
    folder: Path, pictures: Sequence[Path], about: Mapping[str, Any], source: Path | None
) -> tuple[dict[str, list[Path]], list[str]]:
    """Pictures by split: as the YAML file says, else by the names of folders; and notes.

    Raises:
        ConversionError: It names pictures to train or to validate on that are not there.
    """
    known = {_place(path): path for path in pictures}
    entries = {split: about.get(split) for split in ALIASES}
    named = {split: list(_of_entry(folder, about, split, entry, known)) for split, entry in entries.items() if entry}
    found = _by_folders(folder, pictures)
    lacking = [split for split in named if not named[split] and split != 'test']
    agreed = {'train', 'val'} <= found.keys() and all(not part or part == found.get(s) for s, part in named.items())
    if 'train' not in named or (lacking and agreed):
        lost = f'{source}: {", ".join(lacking or named)}: no such pictures; the names of folders say the splits'
        return found, [lost] if named else []
    if lacking:
        raise ConversionError(
            f'{source}: "{lacking[0]}: {entries[lacking[0]]}" names no picture below {folder}; correct it, or take '
            'the line out'
        )
    notes = []
    if 'test' in named and not named['test']:
        notes.append(f'{source}: "test: {entries["test"]}" names no picture below {folder}: there is none to test on')
    named = {split: listed for split, listed in named.items() if listed}
    if named.get('val') == named.get('train'):  # YOLO's way to say that nothing is split
        named.pop('val', None)
    for split in ('train', 'val'):
        if split in named and named.get('test') == named[split]:
            named.pop('test')
            notes.append(f'{source}: test is {split}: there is none of its own to test on')
    return named, notes


def _by_folders(folder: Path, pictures: Sequence[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in pictures:
        inside = path.parent.relative_to(folder).as_posix()
        found.setdefault(split_of(inside) or 'all', []).append(path)
    return found


def _place(path: Path) -> Path:
    """Where a picture lies; that it is a link itself does not matter."""
    return path.parent.resolve() / path.name


def _of_entry(
    folder: Path, about: Mapping[str, Any], split: str, entry: Any, known: Mapping[Path, Path]
) -> Iterable[Path]:
    """Pictures of a folder or a list of files that the YAML file names, as far as they lie in the data set."""
    if isinstance(entry, list):
        for part in entry:
            yield from _of_entry(folder, about, split, part, known)
        return
    text = str(entry).replace('\\', '/')
    parts = [part for part in text.split('/') if part not in ('', '.', '..')]
    ends = ['/'.join(parts[start:]) for start in range(len(parts))]  # of a path of another machine
    ends = [end for place, end in enumerate(ends) if place == 0 or split_of(end) == split]
    places = [folder / str(about.get('path') or '') / text, folder / text, *(folder / end for end in ends)]
    place = next((path for path in places if path.exists()), None)
    if place is None:
        return
    if place.is_dir():
        inside, written = place.resolve(), os.path.normpath(place)
        yield from (p for real, p in known.items() if real.is_relative_to(inside) or p.is_relative_to(written))
        return
    for line in read_text(place).splitlines():
        name = line.strip().replace('\\', '/')
        for path in (place.parent / name, folder / name, folder / name.lstrip('./').removeprefix('data/')):
            if _place(path) in known:
                yield known[_place(path)]
                break


def _picture(folder: Path, path: Path, names: Mapping[int, str], keypoints: int) -> FoundPicture:
    labels = _labels_of(path, folder)
    size = measure(path, None, labels)
    objects: list[FoundObject] = []
    problems = []
    lines = read_text(labels).splitlines() if labels.is_file() else []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            objects.append(_object(line, names, size, keypoints))
        except ValueError as error:
            problems.append(f'{labels}, line {number}: {error}')
    if problems:
        raise ConversionError('\n'.join(problems))
    return FoundPicture(path, path.relative_to(folder).as_posix(), labels, size, size, tuple(objects))


def _object(line: str, names: Mapping[int, str], size: tuple[int, int], keypoints: int) -> FoundObject:
    """An object of a line; a sixth number, or an odd one behind a polygon, is a score and left out."""
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        raise ValueError(f'"{line.strip()[:60]}" are not numbers alone') from None
    if len(values) < 5 or not all(map(math.isfinite, values)):
        raise ValueError(f'{len(values)} numbers; a box has five: class, x, y, width, height')
    name = names.get(int(values[0])) if values[0] == int(values[0]) else None
    if name is None:
        raise ValueError(f'the class {values[0]:g} is none of 0 to {max(names)}')
    box_only = len(values) <= 6 or (keypoints and len(values) == 5 + keypoints)
    shares = values[1:5] if box_only else values[1 : len(values) - (len(values) - 1) % 2]
    if min(shares) < -_SLACK or max(shares) > 1 + _SLACK:
        raise ValueError(f'{max(shares, key=abs):g} is no share of the picture, 0 to 1')
    height, width = size
    if box_only:
        x, y, w, h = shares
        return FoundObject(name, ((x - w / 2) * width, (y - h / 2) * height, w * width, h * height))
    polygon = [share * (height if place % 2 else width) for place, share in enumerate(shares)]
    left, top = min(polygon[0::2]), min(polygon[1::2])
    return FoundObject(name, (left, top, max(polygon[0::2]) - left, max(polygon[1::2]) - top), [polygon])
