"""Recognise how a data set lies on disk."""

from __future__ import annotations

from pathlib import Path

from denseclip.datasets.converters.layout import ConversionError
from denseclip.datasets.own_data.coco import coco_files, from_coco
from denseclip.datasets.own_data.data import BoxData, Conversion, LabelMapData
from denseclip.datasets.own_data.label_maps import from_label_maps, label_map_splits
from denseclip.datasets.own_data.voc import from_voc


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
    how = Conversion(Path(converted) if converted else folder.with_name(f'{folder.name}_coco'), val_share, force)
    files, splits = coco_files(folder), label_map_splits(folder)
    if files and not (splits and 'all' in files):  # beside label maps a lone JSON file of any name says something else
        return from_coco(folder, files, how)
    if any(folder.glob('*.xml')) or any(folder.glob('Annotations/*.xml')):
        return from_voc(folder, how)
    if splits:
        return from_label_maps(folder, splits)
    raise ConversionError(
        f"{folder}: no layout is recognised. Looked for boxes in COCO's format (annotations/*train*.json, or "
        'train/_annotations.coco.json), for VOC-XML files (Annotations/*.xml, or beside the pictures), and for label '
        'maps (train/ and trainannot/, or images/train/ and masks/train/).'
    )
