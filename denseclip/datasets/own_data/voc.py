"""Boxes in VOC-XML files."""

from __future__ import annotations

from pathlib import Path

from denseclip.datasets.converters.layout import ConversionError
from denseclip.datasets.converters.voc_boxes import VocFolder, convert_voc_boxes
from denseclip.datasets.own_data.coco import describe
from denseclip.datasets.own_data.data import BoxData, BoxSplit, Conversion
from denseclip.datasets.own_data.splits import ALIASES


def from_voc(folder: Path, how: Conversion) -> BoxData:
    """A data set of VOC-XML files, made COCO's in ``how.target``."""
    names = VocFolder.find(folder).classes()
    counts = convert_voc_boxes(
        folder, how.target, {name: name for name in names}, val_share=how.val_share, link=True, force=how.force
    )
    notes = [f"VOC-XML files made COCO's in {how.target}; pictures are links"]
    notes += [f'left out, no width or height: {box}' for box in counts.dropped]
    splits = {
        split: BoxSplit(how.target / 'annotations' / f'instances_{split}.json', how.target / split)
        for split in ALIASES
        if split in counts.images
    }
    if 'val' not in splits:
        raise ConversionError(f'{folder}: ImageSets/Main lists no val.txt; add it, or remove the lists to split anew')
    return describe(splits, tuple(notes))
