"""Recognise how a data set lies on disk."""

from __future__ import annotations

from pathlib import Path

from denseclip.datasets.converters.layout import ConversionError
from denseclip.datasets.own_data.coco import coco_files, from_coco
from denseclip.datasets.own_data.cvat import cvat_files, from_cvat
from denseclip.datasets.own_data.data import BoxData, Conversion, LabelMapData
from denseclip.datasets.own_data.label_maps import from_label_maps, label_map_splits
from denseclip.datasets.own_data.labelme import from_labelme, labelme_files
from denseclip.datasets.own_data.mend import CROWDS
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
) -> BoxData | LabelMapData:
    """Find out what a folder holds.

    Args:
        folder: The data set.
        converted: Where files in COCO's format go if they have to be made: from other layouts, from several files, for
            a set that is not split, and where a file has to be mended. By default the folder's name with ``_coco``.
        val_share: Part of the pictures to validate on, 0..1, where the data set is not split.
        force: Replace ``converted`` when it exists.
        crowds: What becomes of ``iscrowd: 1``, by which training and scores leave objects out: ``auto`` takes it off
            where a class has nothing else, ``objects`` everywhere, ``keep`` nowhere.
        corners: Whether VOC-XML files count pixels from ``0`` or ``1``; ``auto`` looks into them.

    Returns:
        What was found.

    Raises:
        ConversionError: If it is nothing known or incomplete; the message says what is looked for.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConversionError(f'{folder}: no such folder')
    for name, value, known in (('crowds', crowds, CROWDS), ('corners', corners, CORNERS)):
        if value not in known:
            raise ConversionError(f'{name} is {value!r}, none of {", ".join(known)}')
    beside = folder if folder.name not in ('', '..') else folder.resolve()
    target = Path(converted) if converted else beside.with_name(f'{beside.name}_coco')
    how = Conversion(target, val_share, force, crowds, corners)
    splits = label_map_splits(folder)
    boxes = _boxes(folder, how, label_maps=bool(splits))
    if boxes is not None:
        return boxes
    if splits:
        return from_label_maps(folder, splits)
    raise ConversionError(
        f"{folder}: no layout is recognised. Looked for boxes in COCO's format (annotations/*train*.json, or "
        'train/_annotations.coco.json), for VOC-XML files (Annotations/*.xml, or beside the pictures), for text files '
        "as YOLO's (images/ and labels/), for labelme's JSON files, for CVAT's annotations.xml, and for label maps "
        '(train/ and trainannot/, or images/train/ and masks/train/).'
    )


def _boxes(folder: Path, how: Conversion, *, label_maps: bool) -> BoxData | None:
    """Boxes in any layout; None if there are none."""
    labelme = labelme_files(folder)
    files = coco_files(folder, besides=labelme)
    if files and not (
        label_maps and 'all' in files
    ):  # beside label maps a lone JSON file of any name says other things
        return from_coco(folder, files, how)
    if labelme:
        return from_labelme(folder, labelme, how)
    if voc_folder(folder)[1]:
        return from_voc(folder, how)
    cvat = cvat_files(folder)
    if cvat:
        return from_cvat(folder, cvat, how)
    pictures = yolo_pictures(folder)
    return from_yolo(folder, pictures, how) if pictures else None
