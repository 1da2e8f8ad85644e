"""Boxes in VOC-XML files: those of VOC itself, of LabelImg, CVAT, Datumaro, Roboflow and supervision."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from denseclip.datasets.converters.layout import ConversionError, raise_if_any
from denseclip.datasets.converters.voc_boxes import VocFile, VocObject, read_voc
from denseclip.datasets.converters.xml_files import root_tag
from denseclip.datasets.files import read_text
from denseclip.datasets.own_data.class_files import listed_first
from denseclip.datasets.own_data.data import BoxData, Conversion
from denseclip.datasets.own_data.pictures import (
    PICTURE_FOLDERS,
    Found,
    FoundObject,
    FoundPicture,
    as_box_data,
    find_picture,
    find_pictures,
    measure,
)
from denseclip.datasets.own_data.splits import split_of
from denseclip.files.pictures import PICTURE_SUFFIXES, files_of, globbed

CORNERS = ('auto', '0', '1')
"""Whether the first pixel is 0, and corners are as they stand, or 1, and ``xmax`` the last pixel inside, as in VOC."""

_CLASS_LIST = re.compile(r'(.*\S)\s+-?[01]')  # VOC's lists of a class: name, and whether the class is in it


def voc_folder(folder: Path) -> tuple[Path, list[Path]]:
    """Where VOC-XML files lie, and which.

    Args:
        folder: The data set.

    Returns:
        The folder that names start from, and the files; none if there are none.
    """
    root = folder / 'Annotations'
    if root.is_dir():
        found = files_of(root, ('.xml',), deep=True)
    else:
        root = folder
        found = globbed(root, '*.xml', '*/*.xml', '*/*/*.xml')
    return root, [path for path in sorted(found) if root_tag(path) in ('annotation', None)]


def from_voc(folder: Path, conversion: Conversion) -> BoxData:
    """A data set of VOC-XML files, made COCO's in ``conversion.target``.

    Pictures that a list names and that have no file are pictures without objects; objects marked ``difficult`` are left
    out of training and scores, as MMDetection's reader does.

    Args:
        folder: ``Annotations``, ``JPEGImages`` and perhaps ``ImageSets/Main``; or XML files beside the pictures or in
            ``annotations`` beside ``images``, perhaps in a folder for each split.
        conversion: How files are made.

    Raises:
        ConversionError: Files are missing or damaged.
    """
    root, paths = voc_folder(folder)
    beside = [path for path in sorted(folder.iterdir()) if path.name.lower() in PICTURE_FOLDERS and path.is_dir()]
    pictures = beside[0] if beside and root != folder else root
    names = {path.relative_to(root).with_suffix('').as_posix(): path for path in paths}
    listed, notes = _splits(folder, pictures, names)
    files, problems = _read({name: names[name] for part in listed.values() for name in part if name in names})
    raise_if_any(problems, folder)
    first, reason = first_pixel(files.values(), conversion.corners)
    notes.append(f'corners of boxes: the first pixel is {first}: {reason}')
    marked = [found.name for file in files.values() for found in file.objects if found.difficult]
    if marked:
        total = sum(len(file.objects) for file in files.values())
        notes.append(f'{len(marked)} of {total} objects are marked difficult: training and scores leave them out')
    found: dict[str, list[FoundPicture]] = {}
    for split, part in listed.items():
        found[split] = []
        for name in part:
            try:
                found[split].append(_picture(pictures, root, name, files.get(name), first))
            except ConversionError as error:
                problems.append(str(error))
    raise_if_any(problems, folder)
    names_found = {entry.name for file in files.values() for entry in file.objects}
    classes, ordered = listed_first(folder, names_found)
    return as_box_data(Found(classes, found, [*notes, *ordered], marked=bool(marked)), conversion)


def _read(paths: Mapping[str, Path]) -> tuple[dict[str, VocFile], list[str]]:
    files, problems = {}, []
    for name, path in paths.items():
        try:
            files[name] = read_voc(path)
        except ConversionError as error:
            problems.append(str(error))
    return files, problems


def _picture(pictures: Path, root: Path, name: str, file: VocFile | None, first: int) -> FoundPicture:
    said_name = file.picture if file else ''  # many are stale: it only chooses where the name itself leaves a choice
    chosen = [path for path in find_pictures(pictures, name) if path.name == said_name]
    path = chosen[0] if chosen else find_picture(pictures, name) or _inside(pictures, name, said_name)
    if path is None:
        raise ConversionError(f'{pictures / name}: there is no picture of this name, with any ending')
    source, said = (file.path, file.size) if file else (root / f'{name}.xml', None)
    size = measure(path, said, source)
    objects = tuple(_object(found, first) for found in file.objects) if file else ()
    return FoundPicture(path, path.relative_to(pictures).as_posix(), source, size, said, objects)


def _inside(pictures: Path, name: str, said: str) -> Path | None:
    """The picture that an XML file names, where none has the name of the file."""
    path = (pictures / name).parent / said
    return path if said and path.suffix.lower() in PICTURE_SUFFIXES and path.is_file() else None


def _object(found: VocObject, first: int) -> FoundObject:
    left, top, right, bottom = found.corners
    box = (left - first, top - first, right - left + first, bottom - top + first)
    if right <= left or bottom <= top:
        box = (left - first, top - first, right - left, bottom - top)  # nothing, and said so
    return FoundObject(found.name, box, crowd=found.difficult)


def first_pixel(files: Iterable[VocFile], corners: str = 'auto') -> tuple[int, str]:
    """Whether the first pixel is 0 or 1, by what stands in the files.

    Args:
        files: All of a data set.
        corners: One of :data:`CORNERS`.

    Returns:
        0 or 1, and why.
    """
    if corners != 'auto':
        return int(corners), 'as asked for'
    files = list(files)
    for file in files:
        for found in file.objects:
            if min(found.corners) < 1:
                return 0, f'{file.path.name} has the corner {min(found.corners):g}'
    for file in files:
        for found in file.objects:
            if any(value != int(value) for value in found.corners):
                return 0, f'{file.path.name} has decimals, which count from the edge of the picture'
    if files and all(file.by_labelimg for file in files):
        return 0, 'the files look like those of LabelImg, which counts so (--corners 1 for the other way)'
    return 1, 'nothing speaks against counting as VOC does (--corners 0 for the other way)'


def _splits(folder: Path, pictures: Path, names: Mapping[str, Path]) -> tuple[dict[str, list[str]], list[str]]:
    """Names of pictures by split, from lists or folders; ``all`` where neither says."""
    lists = folder / 'ImageSets' / 'Main'
    if lists.is_dir() and globbed(lists, '*.txt'):
        return _from_lists(lists, pictures, names)
    by_folder: dict[str, list[str]] = {}
    for name in names:
        inside = name.rpartition('/')[0]
        by_folder.setdefault((inside and split_of(inside)) or 'all', []).append(name)
    beside = by_folder.pop('all', []) if 'train' in by_folder else []
    known = {name.rpartition('/')[2] for name in names}
    without = [path for path in files_of(pictures, PICTURE_SUFFIXES, deep=True) if path.stem not in known]
    notes = [f'{len(without)} pictures have no XML file and are left out, such as {without[0].name}'] if without else []
    notes += (
        [f'{len(beside)} pictures outside the folders of splits are left out, such as {beside[0]}'] if beside else []
    )
    return by_folder, notes


def _from_lists(lists: Path, pictures: Path, names: Mapping[str, Path]) -> tuple[dict[str, list[str]], list[str]]:
    """Lists called as a split; where there is none to train on, all other lists are one set that is not split."""
    found: dict[str, list[str]] = {}
    rest: dict[str, None] = {}
    read = {path: _read_list(path, pictures, names) for path in globbed(lists, '*.txt')}
    # VOC has lists of one class beside those of all: the plain names go first
    for path, listed in sorted(read.items(), key=lambda item: (len(item[0].stem), item[0].name)):
        split = split_of(path.stem)
        if listed is None:
            continue
        if split is None:
            rest |= dict.fromkeys(listed)
        elif split in found and set(listed) != set(found[split]):
            raise ConversionError(f'{path}: {split} is listed in another file, too, and otherwise; remove one')
        else:
            found[split] = listed
    seen: dict[str, str] = {}
    problems = []
    for split, listed in found.items():
        for name in listed:
            problems += [f'{name}: listed in {seen[name]} and again in {split}'] if name in seen else []
            seen[name] = split
    raise_if_any(problems, lists)
    left = [name for name in rest if name not in seen]
    if 'train' in found:
        notes = [f'{len(left)} pictures of other lists are in no split and are left out'] if left else []
        if 'val' not in found:
            raise ConversionError(f'{lists} has no val.txt; add it, or remove the lists to split anew')
        return found, notes
    if not left:
        raise ConversionError(f'{lists}/train.txt does not exist: it names the pictures to train on, one a line')
    key = 'train' if 'val' in found else 'all'
    return {key: left, **found}, []


def _read_list(path: Path, pictures: Path, names: Mapping[str, Path]) -> list[str] | None:
    """Names of a list, blanks in them kept; None for one of VOC's lists of a class, and for an empty one."""
    lines = [line.strip() for line in read_text(path).splitlines()]
    listed = [re.sub(r'\.(jpe?g|png|bmp|xml)$', '', line, flags=re.IGNORECASE) for line in lines if line]
    if not listed:
        return None
    known = any(name in names or find_pictures(pictures, name) for name in listed)
    of_class = [_CLASS_LIST.fullmatch(line) for line in listed]
    if not known and all(of_class):
        return None
    return list(dict.fromkeys(listed))
