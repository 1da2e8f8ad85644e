"""Boxes in VOC-XML files (LabelImg's default) to COCO's JSON, and BCCD's blood cells in particular."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from denseclip.datasets.converters.layout import ConversionError, complete_or_absent, place, raise_if_any
from denseclip.datasets.files import UnreadableFileError, image_size

SPLITS = ('train', 'val', 'test')
BCCD_CLASSES = {'RBC': 'red blood cell', 'WBC': 'white blood cell', 'Platelets': 'platelets'}
"""Names in BCCD's files, and as words."""


@dataclass
class BoxCounts:
    """What a conversion found.

    Attributes:
        images: Pictures of every split.
        boxes: Boxes of every class, over all splits.
        dropped: Boxes without width or height, left out; ``file: xmin ymin xmax ymax`` each.
    """

    images: dict[str, int] = field(default_factory=dict)
    boxes: dict[str, int] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)


def convert_voc_boxes(
    source: str | Path, target: str | Path, classes: Mapping[str, str], *, link: bool = False, force: bool = False
) -> BoxCounts:
    """Turn a VOC folder into COCO's layout: ``annotations/instances_SPLIT.json`` and a folder of pictures per split.

    Everything is read and checked before anything is written. VOC counts pixels from 1 and includes the last one; a
    box ``xmin, xmax`` becomes ``x = xmin - 1, width = xmax - xmin + 1``, clipped to the picture.

    Args:
        source: Folder with ``Annotations``, ``JPEGImages`` and ``ImageSets/Main/{train,val,test}.txt``.
        target: Folder to make.
        classes: Class names in the files, and the names to write, in label order.
        link: Make symbolic links instead of copies.
        force: Replace ``target`` when it exists.

    Returns:
        What was found.

    Raises:
        ConversionError: If files are missing or unreadable, a picture is listed in two splits, a size or a class name
            is wrong; or if ``target`` exists and ``force`` is not set.
    """
    source, target = Path(source), Path(target)
    folders = [name for name in ('Annotations', 'JPEGImages', 'ImageSets/Main') if not (source / name).is_dir()]
    if folders:
        raise ConversionError(f'{source}: no folder {", ".join(folders)}; is it a VOC folder?')
    counts = BoxCounts(boxes=dict.fromkeys(classes.values(), 0))
    contents, problems = {}, []
    names = _split_names(source)
    for split, listed in names.items():
        contents[split], found = _read_split(source, listed, classes, counts)
        problems += found
        counts.images[split] = len(listed)
    raise_if_any(problems, source)
    with complete_or_absent(target, force=force) as staging:
        (staging / 'annotations').mkdir()
        for split, listed in names.items():
            path = staging / 'annotations' / f'instances_{split}.json'
            path.write_text(json.dumps(contents[split]), encoding='utf-8')
            for name in listed:
                place(source / 'JPEGImages' / f'{name}.jpg', staging / split / f'{name}.jpg', link=link)
    return counts


def convert_bccd(source: str | Path, target: str | Path, *, link: bool = False, force: bool = False) -> BoxCounts:
    """BCCD (364 blood smears, github.com/Shenggan/BCCD_Dataset, MIT); arguments as of :func:`convert_voc_boxes`.

    Args:
        source: Checkout of the repository, or its folder ``BCCD``.
        target: Folder to make, usually ``data/BCCD``.
        link: Make symbolic links instead of copies.
        force: Replace ``target`` when it exists.

    Returns:
        What was found.
    """
    source = Path(source)
    inner = source / 'BCCD'
    return convert_voc_boxes(inner if inner.is_dir() else source, target, BCCD_CLASSES, link=link, force=force)


def _split_names(source: Path) -> dict[str, list[str]]:
    """Names of every split's pictures; splits that have no list are left out."""
    lists = {split: source / 'ImageSets' / 'Main' / f'{split}.txt' for split in SPLITS}
    names = {s: p.read_text(encoding='utf-8').split() for s, p in lists.items() if p.is_file()}
    if 'train' not in names:
        raise ConversionError(f'{lists["train"]} does not exist: it names the pictures to train on, one a line')
    seen: dict[str, str] = {}
    problems = []
    for split, listed in names.items():
        for name in listed:
            if name in seen:
                problems.append(f'{name}: listed in {seen[name]} and again in {split}')
            seen[name] = split
    raise_if_any(problems, source)
    return names


def _read_split(
    source: Path, names: list[str], classes: Mapping[str, str], counts: BoxCounts
) -> tuple[dict[str, Any], list[str]]:
    """COCO's JSON of one split, and what is wrong with its files."""
    ids = {theirs: place for place, theirs in enumerate(classes, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    problems = []
    for number, name in enumerate(names, start=1):
        path = source / 'Annotations' / f'{name}.xml'
        try:
            height, width = image_size(source / 'JPEGImages' / f'{name}.jpg')
            boxes = _read_boxes(path)
        except (UnreadableFileError, ConversionError) as error:
            problems.append(str(error))
            continue
        images.append({'id': number, 'file_name': f'{name}.jpg', 'height': height, 'width': width})
        for label, corners in boxes:
            if label not in ids:
                problems.append(f'{path}: class "{label}" is none of {", ".join(ids)}')
                continue
            x1, y1 = max(corners[0] - 1, 0.0), max(corners[1] - 1, 0.0)
            x2, y2 = min(corners[2], float(width)), min(corners[3], float(height))
            if corners[2] <= corners[0] or corners[3] <= corners[1] or x2 <= x1 or y2 <= y1:
                counts.dropped.append(f'{path.name}: {" ".join(f"{c:g}" for c in corners)}')
                continue
            counts.boxes[classes[label]] += 1
            entry = {'image_id': number, 'category_id': ids[label], 'bbox': [x1, y1, x2 - x1, y2 - y1]}
            annotations.append({'id': len(annotations) + 1, **entry, 'area': (x2 - x1) * (y2 - y1), 'iscrowd': 0})
    categories = [{'id': ids[theirs], 'name': ours} for theirs, ours in classes.items()]
    return {'images': images, 'annotations': annotations, 'categories': categories}, problems


def _read_boxes(path: Path) -> list[tuple[str, tuple[float, ...]]]:
    """Class name and ``xmin, ymin, xmax, ymax`` of every object in a file."""
    try:
        root = ET.parse(path).getroot()
        return [
            (
                str(found.findtext('name')).strip(),
                tuple(float(str(found.findtext(f'bndbox/{k}'))) for k in ('xmin', 'ymin', 'xmax', 'ymax')),
            )
            for found in root.findall('object')
        ]
    except (OSError, ET.ParseError, ValueError) as error:
        raise ConversionError(f'{path}: not a readable VOC annotation ({error})') from error
