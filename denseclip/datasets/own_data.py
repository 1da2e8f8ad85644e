"""Recognise how somebody's own data set lies on disk: boxes in COCO's or VOC's format, or label maps in folders."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from denseclip.datasets.box_audit import read_coco
from denseclip.datasets.converters.layout import ConversionError, complete_or_absent, split_by_name
from denseclip.datasets.converters.voc_boxes import PICTURE_SUFFIXES, VocFolder, convert_voc_boxes
from denseclip.datasets.files import UnreadableFileError, image_size, read_label_map

ALIASES = {'train': ('train', 'training'), 'val': ('val', 'valid', 'validation'), 'test': ('test', 'testing')}
"""Words that name a split in folders and files."""
LABEL_FOLDERS = ('masks', 'labels', 'annotations', 'annot', 'label')
_SAMPLE = 200  # label maps that are read to learn which ids occur


@dataclass(frozen=True)
class BoxSplit:
    """One split of a data set with boxes.

    Attributes:
        ann_file: Annotations in COCO's format.
        pictures: Folder that its file names start from.
    """

    ann_file: Path
    pictures: Path


@dataclass(frozen=True)
class BoxData:
    """A data set with boxes, in COCO's format.

    Attributes:
        splits: ``train``, ``val`` and perhaps ``test``.
        classes: Categories that have boxes in the training split, in the order of their ids.
        masks: Whether objects have masks.
        size: Median width and height of the training pictures.
        notes: What was done to the files on the way, a line each.
    """

    splits: dict[str, BoxSplit]
    classes: tuple[str, ...]
    masks: bool
    size: tuple[int, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelMapSplit:
    """One split of a data set with label maps: folders of pictures and of label maps of the same names."""

    pictures: Path
    labels: Path


@dataclass(frozen=True)
class LabelMapData:
    """A data set with label maps.

    Attributes:
        splits: ``train``, ``val`` and perhaps ``test``.
        picture_suffix: Such as ``.jpg``.
        label_suffix: Such as ``.png``.
        ids: Ids in the first label maps of the training split, without 255.
    """

    splits: dict[str, LabelMapSplit]
    picture_suffix: str
    label_suffix: str
    ids: tuple[int, ...]


def recognise(
    folder: str | Path, *, converted: str | Path | None = None, val_share: float = 0.2, force: bool = False
) -> BoxData | LabelMapData:
    """Find out what a folder holds.

    Args:
        folder: The data set.
        converted: Where files in COCO's format go if they have to be made: from VOC-XML files, or from one COCO file
            that is not split yet. By default the folder's name with ``_coco``.
        val_share: Part of the pictures to validate on, 0..1, where the data set is not split.
        force: Replace ``converted`` when it exists.

    Returns:
        What was found.

    Raises:
        ConversionError: If it is nothing known or incomplete; the message says what is looked for.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConversionError(f'{folder}: no such folder')
    target = Path(converted) if converted else folder.with_name(f'{folder.name}_coco')
    files, splits = _coco_files(folder), _label_map_splits(folder)
    if files and not (splits and 'all' in files):  # beside label maps a lone JSON file of any name says something else
        return _from_coco(folder, files, target, val_share, force)
    if any(folder.glob('*.xml')) or any(folder.glob('Annotations/*.xml')):
        return _from_voc(folder, target, val_share, force)
    if splits:
        return _from_label_maps(folder, splits)
    raise ConversionError(
        f"{folder}: no layout is recognised. Looked for boxes in COCO's format (annotations/*train*.json, or "
        'train/_annotations.coco.json), for VOC-XML files (Annotations/*.xml, or beside the pictures), and for label '
        'maps (train/ and trainannot/, or images/train/ and masks/train/).'
    )


def _split_of(name: str) -> str | None:
    """The split that a file or folder name speaks of."""
    low = name.lower()
    found = [split for split, words in ALIASES.items() if any(word in low for word in words)]
    return found[0] if len(found) == 1 else None


def _coco_files(folder: Path) -> dict[str, Path]:
    """Annotation files by split; ``all`` for the only file of a set that is not split."""
    found: dict[str, Path] = {}
    paths = [*folder.glob('annotations/*.json'), *folder.glob('*.json'), *folder.glob('*/_annotations.coco.json')]
    if any(path.stem.startswith('instances_') for path in paths):  # beside captions, keypoints, panoptic segments
        paths = [path for path in paths if path.stem.startswith('instances_')]
    for path in sorted(paths):
        split = _split_of(path.parent.name if path.name.startswith('_annotations') else path.stem)
        if split is None:
            continue
        if split in found:
            raise ConversionError(f'{found[split]} and {path} both look like the annotations of {split}; remove one')
        found[split] = path
    return found or ({'all': paths[0]} if len(paths) == 1 else {})


def _from_coco(folder: Path, files: dict[str, Path], target: Path, val_share: float, force: bool) -> BoxData:
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
        made = _divide(contents.pop(whole), target, val_share, force)
        notes = (f'{files[whole]} divided into {" and ".join(str(path) for path in made.values())}',)
        files = {**{split: path for split, path in files.items() if split != whole}, **made}
        pictures.update(train=pictures[whole], val=pictures[whole])
    splits = {split: BoxSplit(files[split], pictures[split]) for split in ALIASES if split in files}
    return _describe(splits, notes)


def _describe(splits: dict[str, BoxSplit], notes: tuple[str, ...]) -> BoxData:
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
    near = sorted(inside, key=lambda path: _split_of(path.name) != _split_of(ann_file.stem))
    for place in (ann_file.parent, *near, folder):
        if (place / name).is_file():
            return place
    raise ConversionError(f'{ann_file}: its first picture {name} is in no folder below {folder}')


def _divide(content: dict[str, list[dict[str, Any]]], target: Path, val_share: float, force: bool) -> dict[str, Path]:
    """Write training and validation files of one annotation file; pictures stay where they are."""
    names = split_by_name([str(entry['file_name']) for entry in content['images']], val_share)
    with complete_or_absent(target, force=force) as staging:
        (staging / 'annotations').mkdir()
        for split, listed in names.items():
            chosen = set(listed)
            images = [entry for entry in content['images'] if entry['file_name'] in chosen]
            ids = {entry['id'] for entry in images}
            part = {**content, 'images': images}
            part['annotations'] = [entry for entry in content['annotations'] if entry['image_id'] in ids]
            path = staging / 'annotations' / f'instances_{split}.json'
            path.write_text(json.dumps(part), encoding='utf-8')
    return {split: target / 'annotations' / f'instances_{split}.json' for split in names}


def _from_voc(folder: Path, target: Path, val_share: float, force: bool) -> BoxData:
    names = VocFolder.find(folder).classes()
    counts = convert_voc_boxes(
        folder, target, {name: name for name in names}, val_share=val_share, link=True, force=force
    )
    notes = [f"VOC-XML files made COCO's in {target}; pictures are links"]
    notes += [f'left out, no width or height: {box}' for box in counts.dropped]
    splits = {
        split: BoxSplit(target / 'annotations' / f'instances_{split}.json', target / split)
        for split in ALIASES
        if split in counts.images
    }
    if 'val' not in splits:
        raise ConversionError(f'{folder}: ImageSets/Main lists no val.txt; add it, or remove the lists to split anew')
    return _describe(splits, tuple(notes))


def _label_map_splits(folder: Path) -> dict[str, LabelMapSplit]:
    """Pairs of folders by split."""
    found: dict[str, LabelMapSplit] = {}
    for split, words in ALIASES.items():
        for word in words:
            pairs = [(folder / word, folder / f'{word}{ending}') for ending in ('annot', '_labels', '_masks')]
            pairs += [(folder / 'images' / word, folder / name / word) for name in LABEL_FOLDERS]
            pair = next((LabelMapSplit(*pair) for pair in pairs if pair[0].is_dir() and pair[1].is_dir()), None)
            if pair:
                found.setdefault(split, pair)
    return found


def _from_label_maps(folder: Path, splits: dict[str, LabelMapSplit]) -> LabelMapData:
    lacking = [split for split in ('train', 'val') if split not in splits]
    if lacking:
        raise ConversionError(
            f'{folder}: found {", ".join(splits)} but no {" and no ".join(lacking)} with pictures and label maps'
        )
    train = splits['train']
    pictures = _common_suffix(train.pictures, PICTURE_SUFFIXES)
    labels = _common_suffix(train.labels, ('.png', '.tif', '.tiff', '.bmp'))
    ids: set[int] = set()
    for path in _first(train.labels, labels):
        try:
            ids.update(np.unique(read_label_map(path)).tolist())
            image_size(train.pictures / f'{path.name.removesuffix(labels)}{pictures}')
        except UnreadableFileError as error:
            raise ConversionError(str(error)) from error
    return LabelMapData(splits, pictures, labels, tuple(sorted(ids - {255})))


def _first(folder: Path, suffix: str) -> Iterator[Path]:
    for place, path in enumerate(sorted(folder.glob(f'*{suffix}'))):
        if place == _SAMPLE:
            return
        yield path


def _common_suffix(folder: Path, allowed: tuple[str, ...]) -> str:
    """The suffix of most files of a folder."""
    counts = Counter(path.suffix for path in folder.iterdir() if path.suffix.lower() in allowed)
    if not counts:
        raise ConversionError(f'{folder}: holds no file that ends in {", ".join(allowed)}')
    return counts.most_common(1)[0][0]
