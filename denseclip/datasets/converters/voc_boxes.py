"""Boxes in VOC-XML files (LabelImg's default) to COCO's JSON, and BCCD's blood cells in particular."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from denseclip.datasets.converters.layout import (
    ConversionError,
    complete_or_absent,
    place,
    raise_if_any,
    split_by_name,
)
from denseclip.datasets.converters.xml_files import read_xml
from denseclip.datasets.files import UnreadableFileError, picture_size, read_text
from denseclip.files.pictures import PICTURE_SUFFIXES, globbed

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

    def __str__(self) -> str:
        """Pictures in a line, boxes in the next, then what was left out."""
        lines = [', '.join(f'{count} {split}' for split, count in self.images.items())]
        lines.append(', '.join(f'{count} x {name}' for name, count in self.boxes.items()))
        return '\n'.join([*lines, *(f'left out, no width or height: {box}' for box in self.dropped)])


@dataclass(frozen=True)
class VocFolder:
    """Where boxes in VOC-XML files and their pictures lie.

    Attributes:
        root: The folder that was asked for.
        annotations: Folder of the XML files: ``root/Annotations``, or ``root`` itself.
        pictures: Folder of the pictures: ``root/JPEGImages``, or the one of the XML files.
        lists: ``root/ImageSets/Main``; it need not exist.
    """

    root: Path
    annotations: Path
    pictures: Path
    lists: Path

    @classmethod
    def find(cls, root: str | Path) -> VocFolder:
        """Recognise VOC's own folders, or XML files beside their pictures as LabelImg writes them.

        Raises:
            ConversionError: There is no XML file.
        """
        root = Path(root)
        annotations = root / 'Annotations' if (root / 'Annotations').is_dir() else root
        pictures = root / 'JPEGImages' if (root / 'JPEGImages').is_dir() else annotations
        if not globbed(annotations, '*.xml'):
            raise ConversionError(f'{annotations}: holds no .xml file; is {root} a folder of VOC annotations?')
        return cls(root, annotations, pictures, root / 'ImageSets' / 'Main')

    def picture(self, name: str) -> Path:
        """The picture of an annotation file, by its name without suffix (``NAME.jpg`` if there is none at all)."""
        found = (self.pictures / f'{name}{suffix}' for suffix in (*PICTURE_SUFFIXES, *map(str.upper, PICTURE_SUFFIXES)))
        return next((path for path in found if path.is_file()), self.pictures / f'{name}.jpg')


def convert_voc_boxes(
    source: str | Path,
    target: str | Path,
    classes: Mapping[str, str],
    *,
    val_share: float = 0.2,
    link: bool = False,
    force: bool = False,
) -> BoxCounts:
    """Turn a VOC folder into COCO's layout: ``annotations/instances_SPLIT.json`` and a folder of pictures per split.

    Everything is read and checked before anything is written. VOC counts pixels from 1 and includes the last one; a
    box ``xmin, xmax`` becomes ``x = xmin - 1, width = xmax - xmin + 1``, clipped to the picture.

    Args:
        source: Folder with ``Annotations``, ``JPEGImages`` and, if the set is split already,
            ``ImageSets/Main/{train,val,test}.txt``; or one folder with XML files and pictures.
        target: Folder to make.
        classes: Class names in the files, and the names to write, in label order.
        val_share: Part of the pictures to validate on, 0..1, where nothing lists them.
        link: Make symbolic links instead of copies.
        force: Replace ``target`` when it exists.

    Returns:
        What was found.

    Raises:
        ConversionError: If files are missing or unreadable, a picture is listed in two splits, a size or a class name
            is wrong; or if ``target`` may not be written, see
            :func:`~denseclip.datasets.converters.layout.complete_or_absent`.
    """
    folder, target = VocFolder.find(source), Path(target)
    counts = BoxCounts(boxes=dict.fromkeys(classes.values(), 0))
    contents, problems = {}, []
    names = _split_names(folder, val_share)
    for split, listed in names.items():
        contents[split], found = _read_split(folder, listed, classes, counts)
        problems += found
        counts.images[split] = len(listed)
    raise_if_any(problems, folder.root)
    with complete_or_absent(target, sources=[Path(source)], force=force) as staging:
        (staging / 'annotations').mkdir()
        for split, listed in names.items():
            path = staging / 'annotations' / f'instances_{split}.json'
            path.write_text(json.dumps(contents[split]), encoding='utf-8')
            for name in listed:
                picture = folder.picture(name)
                place(picture, staging / split / picture.name, link=link)
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


def _split_names(source: VocFolder, val_share: float) -> dict[str, list[str]]:
    """Names of every split's pictures; splits that have no list are left out."""
    if not source.lists.is_dir():
        return split_by_name([path.stem for path in globbed(source.annotations, '*.xml')], val_share)
    lists = {split: source.lists / f'{split}.txt' for split in SPLITS}
    names = {s: read_text(p).split() for s, p in lists.items() if p.is_file()}
    if 'train' not in names:
        raise ConversionError(f'{lists["train"]} does not exist: it names the pictures to train on, one a line')
    seen: dict[str, str] = {}
    problems = []
    for split, listed in names.items():
        for name in listed:
            if name in seen:
                problems.append(f'{name}: listed in {seen[name]} and again in {split}')
            seen[name] = split
    raise_if_any(problems, source.root)
    return names


def _read_split(
    source: VocFolder, names: list[str], classes: Mapping[str, str], counts: BoxCounts
) -> tuple[dict[str, Any], list[str]]:
    """COCO's JSON of one split, and what is wrong with its files."""
    ids = {theirs: place for place, theirs in enumerate(classes, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    problems = []
    for number, name in enumerate(names, start=1):
        path, picture = source.annotations / f'{name}.xml', source.picture(name)
        try:
            size = picture_size(picture)
            read = read_voc(path)
        except (UnreadableFileError, ConversionError) as error:
            problems.append(str(error))
            continue
        height, width = size.upright
        if read.size and read.size == size.stored != size.upright:
            said = f'{path}: says {read.size} (h, w), {picture} is {size.upright}'
            problems += filter(None, [size.fault(read.size, said)])
            continue
        images.append({'id': number, 'file_name': picture.name, 'height': height, 'width': width})
        for label, corners in ((found.name, found.corners) for found in read.objects):
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


@dataclass(frozen=True)
class VocObject:
    """An object of a VOC-XML file.

    Attributes:
        name: Of its class.
        corners: ``xmin, ymin, xmax, ymax`` as they stand there.
        difficult: Whether it is marked so; training and scores leave it out.
    """

    name: str
    corners: tuple[float, float, float, float]
    difficult: bool = False


@dataclass(frozen=True)
class VocFile:
    """A VOC-XML file.

    Attributes:
        path: The file.
        size: Height and width that it says; None where it says none (or 0).
        objects: What it lists.
        by_labelimg: Whether it looks like a file of LabelImg, which counts pixels from 0.
        picture: Name of its picture as it says it, without folders; empty where it says none.
    """

    path: Path
    size: tuple[int, int] | None
    objects: tuple[VocObject, ...]
    by_labelimg: bool
    picture: str = ''


def read_voc(path: Path) -> VocFile:
    """Read one annotation file.

    Args:
        path: The XML file.

    Raises:
        ConversionError: It is none, or an object has no name or no corners.
    """
    try:
        root = read_xml(path)
        objects = tuple(_read_object(found) for found in root.findall('object'))
    except ValueError as error:
        raise ConversionError(f'{path}: not a readable VOC annotation ({error})') from error
    said = [_text(root, f'size/{side}') for side in ('height', 'width')]
    size = (int(said[0]), int(said[1])) if all(map(str.isdecimal, said)) else None
    by_labelimg = root.find('path') is not None and _text(root, 'source/database') == 'Unknown'
    picture = _text(root, 'filename').replace('\\', '/').rpartition('/')[2]
    return VocFile(path, size if size and min(size) else None, objects, by_labelimg, picture)


def _read_object(found: ET.Element) -> VocObject:
    name = _text(found, 'name')
    if not name:
        raise ValueError('an object has no name')
    corners = [float(_text(found, f'bndbox/{side}')) for side in ('xmin', 'ymin', 'xmax', 'ymax')]
    if not all(map(math.isfinite, corners)):
        raise ValueError(f'the corners of {name} are no numbers')
    left, top, right, bottom = corners
    return VocObject(name, (left, top, right, bottom), _text(found, 'difficult') in ('1', 'true', 'True'))


def _text(element: ET.Element, path: str) -> str:
    return (element.findtext(path) or '').strip()
