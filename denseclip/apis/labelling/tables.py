"""Labels as label maps and as YOLO's text files, with the lists of their classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import yaml

from denseclip.apis.labelling.objects import LabelObject
from denseclip.apis.labelling.store import Record, Run
from denseclip.apis.segmentation import with_no_class
from denseclip.structures.outlines import keyhole
from denseclip.visualization.label_png import encode_label_png
from denseclip.visualization.palette import palette_for

IGNORED = 255
"""Pixels in label maps that nothing is said about."""
MOST_CLASSES = 255


def class_list(records: Sequence[Record], run: Run) -> Iterator[tuple[str, str]]:
    """``classes.txt``: a name a line, in the order of the words."""
    del records
    yield 'classes.txt', ''.join(f'{name}\n' for name in run.names)


def mask_names(run: Run) -> tuple[str, ...]:
    """Classes of the label maps: the background is one of them where the model sees one."""
    return with_no_class(run.names) if run.background else run.names


def label_map(objects: Sequence[LabelObject], size: tuple[int, int]) -> np.ndarray:
    """Class of each pixel; where objects overlap that of the surest, of one without a score that of the smallest.

    Args:
        objects: Those with masks count.
        size: Height and width.

    Returns:
        ``uint8`` (H, W), :data:`IGNORED` where there is no object.
    """
    labels = np.full(size, IGNORED, dtype=np.uint8)
    rising = sorted(objects, key=lambda entry: (entry.score is not None, entry.score or 0.0, -entry.area))
    for entry in rising:
        mask = entry.mask
        if mask is not None:
            labels[mask] = entry.label
    return labels


def mask_picture(record: Record, run: Run) -> Iterator[tuple[str, bytes]]:
    """A PNG of ids with a palette and the names inside."""
    names = mask_names(run)
    palette = palette_for(run.names, background=run.background)
    yield f'masks/{record.name}.png', encode_label_png(label_map(record.objects, record.size), names, palette)


def mask_set(records: Sequence[Record], run: Run) -> Iterator[tuple[str, str]]:
    """``_classes.csv``: ids and names."""
    del records
    lines = [f'{label}, {name}' for label, name in enumerate(mask_names(run))]  # its readers know no quotes
    yield '_classes.csv', '\n'.join(['id, class', *lines, ''])


def yolo_picture(record: Record, run: Run) -> Iterator[tuple[str, str]]:
    """A text file with a line per object, in shares of the picture."""
    lines = [_line(entry, record.size, run.tolerance) for entry in record.objects if entry.label < len(run.names)]
    yield f'labels/{record.name}.txt', ''.join(f'{line}\n' for line in lines)


def _line(entry: LabelObject, size: tuple[int, int], tolerance: float) -> str:
    height, width = size
    mask = entry.mask
    if mask is None:
        x1, y1, x2, y2 = entry.box
        shares = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
    else:
        shares = (keyhole(mask, tolerance) / [width, height]).ravel().tolist()
    return ' '.join([str(entry.label), *(f'{share:.8g}' for share in shares)])


def yolo_set(records: Sequence[Record], run: Run) -> Iterator[tuple[str, str]]:
    """``data.yaml``: where pictures lie, and the names."""
    splits = sorted({record.split for record in records} - {''})
    tops = {record.split: record.name.partition('/')[0] for record in records if record.split}
    places = {split: f'images/{tops[split]}' for split in splits} or {'train': 'images', 'val': 'images'}
    about = {**places, 'names': dict(enumerate(run.names))}
    yield 'data.yaml', yaml.safe_dump(about, allow_unicode=True, sort_keys=False)
