"""Boxes in COCO's format."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from denseclip.datasets.box_audit import read_coco
from denseclip.datasets.converters.layout import ConversionError, complete_or_absent, split_by_name
from denseclip.datasets.files import UnreadableFileError
from denseclip.datasets.own_data.data import BoxData, BoxSplit, Conversion
from denseclip.datasets.own_data.splits import ALIASES, split_of


def coco_files(folder: Path) -> dict[str, Path]:
    """Annotation files by split; ``all`` for the only file of a set that is not split."""
    found: dict[str, Path] = {}
    paths = [*folder.glob('annotations/*.json'), *folder.glob('*.json'), *folder.glob('*/_annotations.coco.json')]
    if any(path.stem.startswith('instances_') for path in paths):  # beside captions, keypoints, panoptic segments
        paths = [path for path in paths if path.stem.startswith('instances_')]
    for path in sorted(paths):
        split = split_of(path.parent.name if path.name.startswith('_annotations') else path.stem)
        if split is None:
            continue
        if split in found:
            raise ConversionError(f'{found[split]} and {path} both look like the annotations of {split}; remove one')
        found[split] = path
    return found or ({'all': paths[0]} if len(paths) == 1 else {})


def from_coco(folder: Path, files: dict[str, Path], how: Conversion) -> BoxData:
    """A data set of annotation files in COCO's format; one that is not split is divided by the pictures' names."""
    notes: tuple[str, ...] = ()
    try:
        contents = {split: read_coco(path) for split, path in files.items()}
    except UnreadableFileError as error:
        raise ConversionError(str(error)) from error
    whole = next((split for split in ('all', 'train') if split in files), None)
    if whole is None:
        raise ConversionError(f'{folder}: found {", ".join(map(str, files.values()))}, but none to train on')
    pictures = {split: _picture_folder(folder, files[split], content) for split, content in contents.items()}
    if 'val' not in files:
        made = _divide(contents.pop(whole), how)
        notes = (f'{files[whole]} divided into {" and ".join(str(path) for path in made.values())}',)
        files = {**{split: path for split, path in files.items() if split != whole}, **made}
        pictures.update(train=pictures[whole], val=pictures[whole])
    splits = {split: BoxSplit(files[split], pictures[split]) for split in ALIASES if split in files}
    return describe(splits, notes)


def describe(splits: dict[str, BoxSplit], notes: tuple[str, ...]) -> BoxData:
    """Classes, masks and sizes of a data set in COCO's format, from its training split."""
    content = read_coco(splits['train'].ann_file)
    counts = Counter(entry['category_id'] for entry in content['annotations'])
    entries = sorted(content['categories'], key=lambda entry: entry['id'])
    classes = tuple(str(entry['name']) for entry in entries if counts[entry['id']])
    if not classes:
        raise ConversionError(f'{splits["train"].ann_file}: holds no box of a known category')
    masks = all(entry.get('segmentation') for entry in content['annotations'])
    sizes = [(entry['width'], entry['height']) for entry in content['images'] if entry.get('width')]
    width, height = np.median(sizes, axis=0).astype(int).tolist() if sizes else (640, 480)
    return BoxData(splits, classes, masks, (width, height), notes)


def _picture_folder(folder: Path, ann_file: Path, content: dict[str, list[dict[str, Any]]]) -> Path:
    """The folder that file names of an annotation file start from."""
    if not content['images']:
        raise ConversionError(f'{ann_file}: lists no picture')
    name = str(content['images'][0]['file_name'])
    inside = [path for path in sorted(folder.rglob('*')) if path.is_dir()]
    near = sorted(inside, key=lambda path: split_of(path.name) != split_of(ann_file.stem))
    for place in (ann_file.parent, *near, folder):
        if (place / name).is_file():
            return place
    raise ConversionError(f'{ann_file}: its first picture {name} is in no folder below {folder}')


def _divide(content: dict[str, list[dict[str, Any]]], how: Conversion) -> dict[str, Path]:
    """Write training and validation files of one annotation file; pictures stay where they are."""
    names = split_by_name([str(entry['file_name']) for entry in content['images']], how.val_share)
    with complete_or_absent(how.target, force=how.force) as staging:
        (staging / 'annotations').mkdir()
        for split, listed in names.items():
            chosen = set(listed)
            images = [entry for entry in content['images'] if entry['file_name'] in chosen]
            ids = {entry['id'] for entry in images}
            part = {**content, 'images': images}
            part['annotations'] = [entry for entry in content['annotations'] if entry['image_id'] in ids]
            path = staging / 'annotations' / f'instances_{split}.json'
            path.write_text(json.dumps(part), encoding='utf-8')
    return {split: how.target / 'annotations' / f'instances_{split}.json' for split in names}
