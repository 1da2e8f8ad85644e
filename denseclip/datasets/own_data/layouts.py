"""Recognise how a data set lies on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from denseclip.datasets.converters.ours import ConversionError, check_apart
from denseclip.datasets.own_data.coco import coco_files, from_coco
from denseclip.datasets.own_data.cvat import cvat_files, from_cvat
from denseclip.datasets.own_data.data import BoxData, Conversion, LabelMapData
from denseclip.datasets.own_data.folders import scan
from denseclip.datasets.own_data.label_maps import from_label_maps
from denseclip.datasets.own_data.labelme import from_labelme, labelme_files
from denseclip.datasets.own_data.map_splits import holds_label_maps
from denseclip.datasets.own_data.mend import CROWDS
from denseclip.datasets.own_data.palettes import AUTO, PALETTES
from denseclip.datasets.own_data.voc import CORNERS, from_voc, voc_folder
from denseclip.datasets.own_data.yolo import from_yolo, yolo_pictures


def recognise(
    folder: str | Path,
    *,
    converted: str | Path | None = None,
    val_share: float = 0.2,
    force: bool = False,
    crowds: str = 'auto',
    corners: str = 'auto',
    kind: str | None = None,
    ids: Sequence[int] = (),
    ignore: Sequence[str] = (),
    colors: str = 'auto',
    check: Callable[[LabelMapData], object] | None = None,
) -> BoxData | LabelMapData:
    """Find out what a folder holds.

    Args:
        folder: The data set.
        converted: Where files go that have to be made: COCO's format from other layouts, from several files, for a set
            that is not split, and where a file has to be mended; label maps of ids from colours, and lists of pictures
            and label maps. By default the folder's name with ``_coco``, or ``_maps``.
        val_share: Part of the pictures to validate on, 0..1, where the data set is not split.
        force: Replace ``converted`` when it exists and we made all of it.
        crowds: What becomes of ``iscrowd: 1``, by which training and scores leave objects out: ``auto`` takes it off
            where a class has nothing else, ``objects`` everywhere, ``keep`` nowhere.
        corners: Whether VOC-XML files count pixels from ``0`` or ``1``; ``auto`` looks into them.
        kind: ``'boxes'`` or ``'label maps'``, where a folder holds both; by default boxes are read.
        ids: Ids of the classes in label maps, in the order of the names; by default all that are not ignored.
        ignore: Ids in label maps (or names, where a file says them) that are no class.
        colors: Set whose colours label maps have (``camvid``, ``cityscapes``, ``voc`` ...); by default a list beside
            them says what they mean, or the colours do where they are those of one known set only.
        check: Called with label maps as they were recognised, before files are made; may raise.

    Returns:
        What was found.

    Raises:
        ConversionError: If it is nothing known or incomplete, the message says what is looked for; or if ``converted``
            touches ``folder``.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConversionError(f'{folder}: no such folder')
    for name, value, known in (
        ('crowds', crowds, CROWDS),
        ('corners', corners, CORNERS),
        ('colors', colors, (AUTO, *PALETTES)),
    ):
        if value not in known:
            raise ConversionError(f'{name} is {value!r}, none of {", ".join(known)}')
    beside = Path(os.path.abspath(folder))  # noqa: PTH100  (without following links, and '.' has a name then)
    if converted:
        check_apart(Path(converted), [folder])
    conversion = Conversion(folder, Path(), val_share, force, crowds, corners, tuple(ids), tuple(ignore), colors, check)
    groups = scan(folder)
    maps = holds_label_maps(groups)
    if kind != 'label maps':
        target = Path(converted or beside.with_name(f'{beside.name}_coco'))
        boxes = _boxes(folder, replace(conversion, target=target), label_maps=maps)
        if boxes is not None:
            return boxes
    if maps and kind != 'boxes':
        target = Path(converted or beside.with_name(f'{beside.name}_maps'))
        return from_label_maps(folder, groups, replace(conversion, target=target))
    raise ConversionError(
        f"{folder}: no layout is recognised. Looked for boxes in COCO's format (annotations/*train*.json, or "
        'train/_annotations.coco.json), for VOC-XML files (Annotations/*.xml, or beside the pictures), for text files '
        "as YOLO's (images/ and labels/), for labelme's JSON files, for CVAT's annotations.xml, and for label maps "
        '(train/ and trainannot/, images/train/ and masks/train/, images/ and masks/, JPEGImages/ and '
        'SegmentationClass/, or NAME.jpg beside NAME_mask.png).'
    )


def _boxes(folder: Path, conversion: Conversion, *, label_maps: bool) -> BoxData | None:
    """Boxes in any layout; None if there are none."""
    labelme = labelme_files(folder)
    files = coco_files(folder, besides=labelme)
    if files and not (
        label_maps and 'all' in files
    ):  # beside label maps a lone JSON file of any name says other things
        return from_coco(folder, files, conversion)
    if labelme:
        return from_labelme(folder, labelme, conversion)
    if voc_folder(folder)[1]:
        return from_voc(folder, conversion)
    cvat = cvat_files(folder)
    if cvat:
        return from_cvat(folder, cvat, conversion)
    pictures = yolo_pictures(folder)
    return from_yolo(folder, pictures, conversion) if pictures else None
