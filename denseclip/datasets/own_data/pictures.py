"""Pictures with objects, from whatever layout, to files in COCO's format."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from denseclip.datasets.coco_json import Content
from denseclip.datasets.coco_objects import mask_area, mask_fault
from denseclip.datasets.converters.layout import ConversionError, complete_or_absent, place, split_by_name
from denseclip.datasets.files import UnreadableFileError, picture_size
from denseclip.datasets.own_data.coco import describe
from denseclip.datasets.own_data.data import BoxData, BoxSplit, Conversion
from denseclip.datasets.own_data.mend import mend_coco, unmark_crowds
from denseclip.datasets.own_data.splits import ALIASES, refuse_shared
from denseclip.files.pictures import PICTURE_SUFFIXES

PICTURE_FOLDERS = ('jpegimages', 'images', 'image', 'imgs', 'img', 'pictures')
"""Folders of pictures beside those of annotations, in lower case."""

ANNOTATION_FOLDERS = ('annotations', 'annotation', 'annots', 'xmls', 'xml', 'labels', 'json', 'jsons')
"""Folders of a file for each picture, in lower case."""

_ROUNDING = 2.0  # pixels

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class FoundObject:
    """An object as a layout has it.

    Attributes:
        name: Of its class.
        box: ``x, y, width, height`` in pixels, from the corner of the picture.
        mask: Polygons or a run-length code, or None.
        crowd: Whether training and scores leave it out.
    """

    name: str
    box: Box
    mask: Any = None
    crowd: bool = False


@dataclass(frozen=True)
class FoundPicture:
    """A picture as a layout has it.

    Attributes:
        path: The file.
        name: File name to give it, relative and with slashes; of those with one name, the path from the data set is
            taken.
        source: File of its annotations.
        size: Height and width as training sees it.
        said: Height and width that the annotations say; None where they say none.
        objects: What is in it.
    """

    path: Path
    name: str
    source: Path
    size: tuple[int, int]
    said: tuple[int, int] | None
    objects: tuple[FoundObject, ...]


@dataclass
class Found:
    """A data set as a layout has it.

    Attributes:
        classes: Names in the order of their labels.
        pictures: By split; under ``all`` those that name none.
        notes: What was decided, a line each.
        marked: Whether objects are left out because somebody marked each of them.
    """

    classes: Sequence[str]
    pictures: Mapping[str, list[FoundPicture]]
    notes: list[str] = field(default_factory=list)
    marked: bool = False


def measure(path: Path, said: tuple[int, int] | None, source: Path) -> tuple[int, int]:
    """Size of a picture as training sees it; of one that cannot be read, that of its annotations.

    Args:
        path: The picture.
        said: Height and width that its annotations say.
        source: Their file, for the error.

    Raises:
        ConversionError: The picture cannot be read, or its annotations were made before it was turned.
    """
    try:
        size = picture_size(path)
    except UnreadableFileError as error:
        if said:
            return said  # the audit names the picture, beside all else that it finds
        raise ConversionError(str(error)) from error
    if said and said == size.stored != size.upright:
        raise ConversionError(str(size.fault(said, f'{source}: says {said} (h, w), {path} is {size.upright}')))
    return size.upright


def find_picture(folder: Path, name: str) -> Path | None:
    """The picture of a name without ending, whatever its ending: there, or in a folder of pictures beside.

    Raises:
        ConversionError: There are two that only their endings tell apart.
    """
    found = find_pictures(folder, name)
    if len(found) > 1:
        raise ConversionError(
            f'{found[0]} and {found[1]} have one name, and nothing says which the annotations are of; rename one with '
            'its own, or remove it'
        )
    return found[0] if found else None


def find_pictures(folder: Path, name: str) -> list[Path]:
    """All pictures of a name without ending: there, or in the first folder of pictures beside that has one.

    Args:
        folder: Where names start from.
        name: Relative, without ending. Where a part of it is called as a folder of annotations (``annotations``,
            ``xmls``), folders of pictures (``images``, ``JPEGImages``) are looked into in its place.
    """
    for stem in (folder / name, *_beside(folder, name)):
        found: list[str] = []
        for suffix in PICTURE_SUFFIXES:
            written = (f'{stem}{suffix}', f'{stem}{suffix.upper()}')
            there = [path for path in written if os.path.isfile(path)]  # noqa: PTH113  (much faster, and often asked)
            found += there[:1] if len(there) > 1 and os.path.samefile(*there) else there  # noqa: PTH121
        if found:
            return [Path(path) for path in found]
    return []


def _beside(folder: Path, name: str) -> Iterator[Path]:
    parts = name.split('/')
    for depth, part in enumerate(parts[:-1]):
        if part.lower() in ANNOTATION_FOLDERS:
            above = folder.joinpath(*parts[:depth])
            for other in sorted(above.iterdir()):
                if other.name.lower() in PICTURE_FOLDERS and other.is_dir():
                    yield other.joinpath(*parts[depth + 1 :])


def as_box_data(found: Found, conversion: Conversion) -> BoxData:
    """Write annotation files in COCO's format and links to the pictures, all or nothing.

    Args:
        found: The data set.
        conversion: Where to, and how a set that is not split is divided.

    Raises:
        ConversionError: There is nothing to train on, or the target may not be written.
    """
    pictures, notes = _settle(found, conversion.source)
    notes += refuse_shared({split: (picture.path for picture in listed) for split, listed in pictures.items()})
    if 'val' not in pictures:
        pictures |= _divide(pictures['train'], conversion.val_share or 0.0)
        notes.append(
            f'pictures divided into {len(pictures["train"])} to train and {len(pictures["val"])} to validate on'
        )
    contents: dict[str, Content] = {}
    for split, listed in pictures.items():
        contents[split], cut = to_coco(listed, found.classes)
        notes += cut
        if found.marked:  # the audit tells objects that somebody marked from the crowds of a tool
            for entry in contents[split]['annotations']:
                entry |= {'difficult': 1} if entry['iscrowd'] else {}
        notes += mend_coco(contents[split], split, conversion.target)
        kept = conversion.crowds if conversion.crowds != 'auto' or not found.marked else 'keep'
        notes += [f'{split}: {line}' for line in unmark_crowds(contents[split], kept)]
    with complete_or_absent(conversion.target, sources=[conversion.source], force=conversion.force) as staging:
        (staging / 'annotations').mkdir()
        for split, listed in pictures.items():
            text = json.dumps(contents[split])
            (staging / 'annotations' / f'instances_{split}.json').write_text(text, encoding='utf-8')
            for picture in listed:
                place(picture.path, staging / split / picture.name, link=True)
    splits = {
        split: BoxSplit(conversion.target / 'annotations' / f'instances_{split}.json', conversion.target / split)
        for split in ALIASES
        if split in pictures
    }
    return describe(splits, (f"annotations made COCO's in {conversion.target}; pictures are links", *notes))


def _settle(found: Found, source: Path) -> tuple[dict[str, list[FoundPicture]], list[str]]:
    """Pictures by split, every one in a place that is said and with a name of its own there, and the notes.

    Raises:
        ConversionError: Several splits are named and none of them is to train on.
    """
    pictures = {split: listed for split, listed in found.pictures.items() if listed}
    notes = [*found.notes]
    whole = pictures.pop('all', [])
    if whole and pictures:
        what = f'{len(whole)} pictures name no split, such as {whole[0].name}'
        notes.append(f'{what}: {"they are trained on" if "train" in pictures else "they are those to train on"}')
    if len(pictures) > 1 and not whole and 'train' not in pictures:
        listed = ', '.join(f'{split} ({len(part)})' for split, part in pictures.items())
        raise ConversionError(f'{source}: pictures are in {listed}, none in train; name those to train on')
    if len(pictures) == 1 and not whole and 'train' not in pictures:
        split, whole = pictures.popitem()
        notes.append(f'all pictures are in {split}: they are divided')
    pictures['train'] = [*pictures.get('train', []), *whole]
    return {split: _named_apart(listed, source) for split, listed in pictures.items()}, notes


def _named_apart(pictures: list[FoundPicture], source: Path) -> list[FoundPicture]:
    """Pictures of a split; where two have one name, all are called by their paths from the data set."""
    if len({picture.name for picture in pictures}) == len(pictures):
        return pictures
    root = source.resolve()
    named = []
    for picture in pictures:
        path = picture.path.parent.resolve() / picture.path.name
        inside = path.relative_to(root).as_posix() if path.is_relative_to(root) else picture.name
        named.append(replace(picture, name=inside))
    name, count = Counter(picture.name for picture in named).most_common(1)[0]
    if count > 1:
        raise ConversionError(f'{source}: {count} pictures would have the name "{name}"; keep one, or rename them')
    return named


def _divide(pictures: list[FoundPicture], val_share: float) -> dict[str, list[FoundPicture]]:
    by_name = {picture.name: picture for picture in pictures}
    divided = split_by_name(by_name, val_share)
    return {split: [by_name[name] for name in names] for split, names in divided.items()}


def to_coco(pictures: Iterable[FoundPicture], classes: Sequence[str]) -> tuple[Content, list[str]]:
    """Content of an annotation file in COCO's format, and what was left out or cut, a line each.

    A box that reaches beyond its picture by more than rounding is cut only where the annotations say the picture's
    size: otherwise they may have been made for another, which the audit should find.

    Args:
        pictures: Of a split.
        classes: All names, in the order of their labels.
    """
    number = {name: place for place, name in enumerate(classes, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    notes, cut, other = [], 0, []
    for image_id, picture in enumerate(pictures, start=1):
        height, width = picture.size
        images.append({'id': image_id, 'file_name': picture.name, 'height': height, 'width': width})
        if picture.said and picture.said != picture.size:
            other.append(str(picture.source))
        for entry in picture.objects:
            box = _inside(entry.box, width, height, by=math.inf if picture.said == picture.size else _ROUNDING)
            cut += box != entry.box
            if box[2] <= 0 or box[3] <= 0:
                corners = f'{box[0]:g} {box[1]:g} {box[0] + box[2]:g} {box[1] + box[3]:g}'
                notes.append(f'left out, no width or height: {picture.source.name}: {entry.name} {corners}')
                cut -= box != entry.box
                continue
            found: dict[str, Any] = {'image_id': image_id, 'category_id': number[entry.name], 'bbox': list(box)}
            sound = entry.mask and not mask_fault(entry.mask, width, height)
            found['area'] = mask_area(entry.mask, width, height) if sound else box[2] * box[3]
            found |= {'segmentation': entry.mask} if entry.mask else {}
            annotations.append({'id': len(annotations) + 1, **found, 'iscrowd': int(entry.crowd)})
    if cut:
        notes.append(f'{cut} boxes that reach beyond their pictures are cut')
    if other:
        notes.append(f'{len(other)} files say another size than their pictures have, the first is {other[0]}')
    categories = [{'id': place, 'name': name} for name, place in number.items()]
    return {'images': images, 'annotations': annotations, 'categories': categories}, notes


def _inside(box: Box, width: int, height: int, *, by: float) -> Box:
    """The part of a box inside the picture, if it reaches beyond by no more than ``by`` pixels."""
    right, bottom = box[0] + box[2], box[1] + box[3]
    beyond = max(-box[0], -box[1], right - width, bottom - height)
    if not 0 < beyond <= by:
        return box
    left, top = max(box[0], 0.0), max(box[1], 0.0)
    return left, top, min(right, float(width)) - left, min(bottom, float(height)) - top
