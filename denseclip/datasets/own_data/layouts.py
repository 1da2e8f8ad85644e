"""Recognise how a data set lies on disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denseclip.datasets.own_data.coco import coco_files, from_coco
from denseclip.datasets.own_data.cvat import cvat_files, from_cvat
from denseclip.datasets.own_data.data import BoxData, Conversion, LabelMapData, Reading
from denseclip.datasets.own_data.datumaro import datumaro_files, from_datumaro
from denseclip.datasets.own_data.fiftyone import fiftyone_files, from_fiftyone
from denseclip.datasets.own_data.folders import scan
from denseclip.datasets.own_data.label_maps import from_label_maps
from denseclip.datasets.own_data.label_studio import from_label_studio, label_studio_files
from denseclip.datasets.own_data.labelme import from_labelme, labelme_files
from denseclip.datasets.own_data.map_splits import holds_label_maps
from denseclip.datasets.own_data.mend import CROWDS
from denseclip.datasets.own_data.palettes import AUTO, PALETTES
from denseclip.datasets.own_data.voc import CORNERS, from_voc, voc_folder
from denseclip.datasets.own_data.yolo import from_yolo, yolo_pictures
from denseclip.files.ours import ConversionError, check_apart
from denseclip.files.pictures import left_out_line

if TYPE_CHECKING:
    from typing_extensions import Unpack


def recognise(
    folder: str | Path,
    *,
    force: bool = False,
    check: Callable[[LabelMapData], object] | None = None,
    **reading: Unpack[Reading],
) -> BoxData | LabelMapData:
    """Find out what a folder holds.

    Args:
        folder: The data set.
        force: Replace files of an earlier run that have to be made, if we made all of them.
        check: Called with label maps as they were recognised, before files are made; may raise.
        **reading: See :class:`Reading`.

    Returns:
        What was found.

    Raises:
        ConversionError: If it is nothing known or incomplete, the message says what is looked for; or if ``converted``
            touches ``folder``.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConversionError(f'{folder}: no such folder')
    options: dict[str, Any] = dict(reading)
    options |= {key: tuple(options[key]) for key in ('ids', 'ignore') if key in options}
    converted, kind = options.pop('converted', None), options.pop('kind', None)
    conversion = Conversion(folder, Path(), force=force, check=check, **options)
    _check_words(conversion)
    beside = Path(os.path.abspath(folder))  # noqa: PTH100  (without following links, and '.' has a name then)
    if converted:
        check_apart(Path(converted), [folder])
    groups = scan(folder)
    lost = left_out_line(groups.left_out, folder)
    told = (lost,) if lost else ()
    maps = holds_label_maps(groups)
    if kind != 'label maps':
        target = Path(converted or beside.with_name(f'{beside.name}_coco'))
        boxes = _boxes(folder, replace(conversion, target=target), label_maps=maps)
        if boxes is not None:
            return replace(boxes, notes=(*boxes.notes, *told))
    if maps and kind != 'boxes':
        target = Path(converted or beside.with_name(f'{beside.name}_maps'))
        data = from_label_maps(folder, groups, replace(conversion, target=target))
        return replace(data, notes=(*data.notes, *told))
    raise ConversionError(
        f"{folder}: no layout is recognised. Looked for boxes in COCO's format (annotations/*train*.json, or "
        'train/_annotations.coco.json), for VOC-XML files (Annotations/*.xml, or beside the pictures), for text files '
        "as YOLO's (images/ and labels/), for labelme's JSON files, for CVAT's annotations.xml, for Datumaro's, "
        "FiftyOne's and Label Studio's JSON files, and for label maps "
        '(train/ and trainannot/, images/train/ and masks/train/, images/ and masks/, JPEGImages/ and '
        'SegmentationClass/, or NAME.jpg beside NAME_mask.png).'
    )


def _check_words(conversion: Conversion) -> None:
    for name, known in (('crowds', CROWDS), ('corners', CORNERS), ('colors', (AUTO, *PALETTES))):
        value = getattr(conversion, name)
        if value not in known:
            raise ConversionError(f'{name} is {value!r}, none of {", ".join(known)}')


def _boxes(folder: Path, conversion: Conversion, *, label_maps: bool) -> BoxData | None:
    """Boxes in any layout; None if there are none."""
    for find, read in _OF_TOOLS:  # before COCO's: some of their files are called as those
        found = find(folder)
        if found:
            return read(folder, found, conversion)
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


_OF_TOOLS: tuple[tuple[Callable[[Path], list[Path]], Callable[[Path, list[Path], Conversion], BoxData]], ...] = (
    (datumaro_files, from_datumaro),
    (fiftyone_files, from_fiftyone),
    (label_studio_files, from_label_studio),
)
"""Tools whose files cannot be anything else: what finds them, and what reads them."""
