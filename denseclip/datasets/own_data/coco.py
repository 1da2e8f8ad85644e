"""Boxes in COCO's format."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from denseclip.datasets.coco_json import Content, ids_by_name, open_coco, read_coco
from denseclip.datasets.coco_objects import is_side
from denseclip.datasets.converters.layout import ConversionError, complete_or_absent, raise_if_any, split_by_name
from denseclip.datasets.files import UnreadableFileError
from denseclip.datasets.own_data.data import BoxData, BoxSplit, Conversion
from denseclip.datasets.own_data.mend import RENAMINGS, mend_coco, merge_coco, unmark_crowds
from denseclip.datasets.own_data.splits import ALIASES, refuse_shared, split_of
from denseclip.files.pictures import globbed, walk

_NAMES = ('_annotations.coco', 'annotations', 'instances', 'labels', 'coco', 'result')
"""Annotation files in a folder of pictures: those of Roboflow, of CVAT, FiftyOne and Label Studio."""
_PROBES = 20  # pictures that are looked for to find their folder


def coco_files(folder: Path, besides: Collection[Path] = ()) -> dict[str, list[Path]]:
    """Annotation files of objects by split.

    Args:
        folder: The data set.
        besides: JSON files that are known to be something else.

    Returns:
        Files by split; under ``all`` those of a set that is not split, under ``unused`` those without a split beside
        others that have one.
    """
    paths = globbed(folder, 'annotations/*.json', '*.json', 'annotations/*/*.json')
    paths += [path for path in globbed(folder, '*/*.json') if path.stem in _NAMES and path.parent.name != 'annotations']
    if any(path.stem.startswith('instances_') for path in paths):  # beside captions, keypoints, panoptic segments
        paths = [path for path in paths if path.stem.startswith('instances_')]
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(set(paths) - set(besides)):
        inside = path.parent.relative_to(folder).as_posix()
        found[split_of(path.stem) or split_of(inside) or 'all'].append(path)
    # a lone file of a split is read, or refused, whatever it holds; among several, or without a split, objects count
    for split, listed in found.items():
        if len(listed) > 1 or split == 'all':
            found[split] = [path for path in listed if _holds_objects(path)]
    if 'train' in found:
        found['unused'] = found.pop('all', [])
    return {split: listed for split, listed in found.items() if listed}


def _holds_objects(path: Path) -> bool:
    """Whether a file is one of boxes or masks, not of captions, panoptic segments or anything else."""
    try:
        content, _ = open_coco(path)
    except UnreadableFileError:
        return False
    return all('bbox' in entry or 'segmentation' in entry for entry in content['annotations'][:100])


def from_coco(folder: Path, files: Mapping[str, list[Path]], conversion: Conversion) -> BoxData:
    """A data set of annotation files in COCO's format.

    What has to be changed goes into a copy in ``conversion.target``: files that :func:`mend_coco` mends, several files
    of one split, and one file of a set that is not split, which is divided by the pictures' names.

    Args:
        folder: The data set.
        files: Annotation files by split.
        conversion: How files are made.

    Raises:
        ConversionError: A file is damaged, its pictures are not found, or there is none to train on.
    """
    files = dict(files)
    notes = [f'{path}: names no split and is left out' for path in files.pop('unused', [])]
    named = [str(path) for paths in files.values() for path in paths]
    whole = next((split for split in ('train', 'all') if split in files), None)
    if whole is None:
        raise ConversionError(f'{folder}: found {", ".join(named)}, but none to train on')
    contents: dict[str, Content] = {}
    read = _read([path for paths in files.values() for path in paths], folder)
    pictures: dict[str, Path] = {}
    made: set[str] = set()
    for split, paths in files.items():
        content, place, lines = _read_split(folder, {path: read[path] for path in paths})
        split = 'train' if split == 'all' else split
        contents[split], pictures[split] = content, place
        notes += lines
        made |= {split} if lines else set()
    mended = bool(made)
    notes += refuse_shared(
        {split: [pictures[split] / str(e['file_name']) for e in part['images']] for split, part in contents.items()}
    )
    if 'val' not in contents:
        contents |= _divide(contents['train'], conversion.val_share or 0.0)
        pictures['val'] = pictures['train']
        made |= {'train', 'val'}
        targets = ' and '.join(str(_made(conversion, split)) for split in ('train', 'val'))
        notes.append(f'{", ".join(map(str, files[whole]))} divided into {targets}')
    for split, content in contents.items():
        lines = unmark_crowds(content, conversion.crowds)
        made |= {split} if lines else set()
        mended |= bool(lines)
        notes += [f'{split}: {line}' for line in lines]
    paths_of = {split: files[split][0] for split in contents if split in files and split not in made}
    if made:
        _write({split: contents[split] for split in sorted(made)}, conversion)
        paths_of |= {split: _made(conversion, split) for split in made}
    if mended:
        notes.append(f'changed annotation files are in {conversion.target}; yours are as they were')
    splits = {split: BoxSplit(paths_of[split], pictures[split]) for split in ALIASES if split in contents}
    return describe(splits, tuple(notes))


def _read(paths: list[Path], folder: Path) -> dict[Path, Content]:
    """Content of all annotation files; what is wrong with any of them is said at once."""
    contents, problems = {}, []
    for path in paths:
        try:
            contents[path] = read_coco(path)
        except UnreadableFileError as error:
            problems.append(str(error))
    raise_if_any(problems, folder)
    return contents


def _read_split(folder: Path, contents: Mapping[Path, Content]) -> tuple[Content, Path, list[str]]:
    """Mended content of a split's files, the folder of its pictures, and what was changed."""
    parts: dict[Path, tuple[Content, Path]] = {}
    notes: list[str] = []
    for path, content in contents.items():
        place, lines = _locate(folder, path, content)
        notes += [*lines, *mend_coco(content, path, place)]
        parts[path] = (content, place)
    if len(parts) == 1:
        return *next(iter(parts.values())), notes
    try:
        content, place = merge_coco(parts)
    except ValueError as error:
        raise ConversionError(str(error)) from error
    return content, place, [*notes, f'{" and ".join(map(str, parts))} are read as one set, categories by name']


def describe(splits: dict[str, BoxSplit], notes: tuple[str, ...]) -> BoxData:
    """Classes, masks and sizes of a data set in COCO's format, from its training split.

    Args:
        splits: Files by split.
        notes: What was done to them.

    Raises:
        ConversionError: There is nothing to train on.
    """
    path = splits['train'].ann_file
    content = read_coco(path)
    counts = Counter(entry['category_id'] for entry in content['annotations'])
    try:
        ids = ids_by_name(content, path)
    except ValueError as error:
        raise ConversionError(str(error)) from error
    names = sorted(ids, key=lambda name: ids[name])
    classes = tuple(name for name in names if counts[ids[name]])
    if not classes:
        raise ConversionError(f'{path}: holds no box of a known category')
    bare = next((entry for entry in content['annotations'] if not entry.get('segmentation')), None)
    maskless = f'annotation {bare["id"]} of {path}' if bare else ''
    sides = [(entry.get('width'), entry.get('height')) for entry in content['images']]
    sizes = np.array([pair for pair in sides if all(map(is_side, pair))], dtype=float)
    width, height = np.median(sizes, axis=0).astype(int).tolist() if len(sizes) else (640, 480)
    return BoxData(splits, classes, maskless, (width, height), notes)


def _locate(folder: Path, ann_file: Path, content: Content) -> tuple[Path, list[str]]:
    """The folder that file names of an annotation file start from; names of another machine are put right in place."""
    if not content['images']:
        raise ConversionError(f'{ann_file}: lists no picture')
    names = [str(entry['file_name']) for entry in content['images']]
    probes = names[:: max(1, len(names) // _PROBES)]
    inside = sorted(Path(place, name) for place, folders, _ in walk(folder) for name in folders)
    here = ann_file.parent
    split = split_of(ann_file.stem) or split_of(here.relative_to(folder).as_posix())

    def far(place: Path) -> tuple[bool, bool]:
        said = split_of(place.name) or split_of(place.relative_to(folder).as_posix())
        return not place.is_relative_to(here), said != split

    places = list(dict.fromkeys([here, *sorted(inside, key=far), folder]))  # splits often have pictures of one name
    for said, rename in RENAMINGS:
        hits = {place: sum((place / rename(name)).is_file() for name in probes) for place in places}
        place = max(places, key=lambda place: hits[place])
        if hits[place] and len({rename(name) for name in names}) == len(set(names)):
            for entry, name in zip(content['images'], names, strict=True):
                entry['file_name'] = rename(name)
            return place, [f'{ann_file}: {said}'] if said else []
    raise ConversionError(f'{ann_file}: its first picture {names[0]} is in no folder below {folder}')


def _divide(content: Content, val_share: float) -> dict[str, Content]:
    """Content for training and validation; pictures stay where they are."""
    parts = {}
    known = {entry['id'] for entry in content['images']}
    for split, listed in split_by_name([str(entry['file_name']) for entry in content['images']], val_share).items():
        chosen = set(listed)
        images = [entry for entry in content['images'] if entry['file_name'] in chosen]
        ids = {entry['id'] for entry in images}
        annotations = [
            entry
            for entry in content['annotations']  # those of no picture stay, so that the audit finds them
            if entry['image_id'] in ids or (split == 'train' and entry['image_id'] not in known)
        ]
        parts[split] = {**content, 'images': images, 'annotations': annotations}
    return parts


def _made(conversion: Conversion, split: str) -> Path:
    return conversion.target / 'annotations' / f'instances_{split}.json'


def _write(contents: Mapping[str, Mapping[str, Any]], conversion: Conversion) -> None:
    """Write annotation files, all or none."""
    with complete_or_absent(conversion.target, sources=[conversion.source], force=conversion.force) as staging:
        (staging / 'annotations').mkdir()
        for split, content in contents.items():
            path = staging / 'annotations' / f'instances_{split}.json'
            path.write_text(json.dumps(content), encoding='utf-8')
