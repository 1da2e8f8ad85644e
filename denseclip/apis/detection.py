"""The result of looking for objects in one picture."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from denseclip.apis.files import prepare_folder, write_file
from denseclip.visualization.boxes import boxes_picture
from denseclip.visualization.palette import overlay_palette

DETECTION_SUFFIXES = ('_boxes.png', '_boxes.json')


@dataclass(frozen=True, eq=False)
class Detections:
    """Objects found in a picture, surest first.

    Attributes:
        boxes: ``n x 4`` corners ``x1, y1, x2, y2`` in the picture's pixels, ``float32``.
        labels: class of each object, n integers; ``names[label]`` is its name.
        scores: confidence of each object in 0..1, ``float32``.
        masks: ``n x H x W`` bool, or None for models that find boxes only.
        names: class names in label order.
        palette: RGB of every class, ``uint8``.
        image: the picture, ``H x W x 3`` RGB, ``uint8``.
        source: the picture's file, if it came from one.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    masks: np.ndarray | None
    names: tuple[str, ...]
    palette: np.ndarray
    image: np.ndarray
    source: Path | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def above(self, score: float) -> Detections:
        """The objects whose score is at least ``score``."""
        keep = self.scores >= score
        masks = None if self.masks is None else self.masks[keep]
        return replace(self, boxes=self.boxes[keep], labels=self.labels[keep], scores=self.scores[keep], masks=masks)

    def counts(self) -> dict[str, int]:
        """Number of objects of every class that was found, most frequent first."""
        numbers = np.bincount(self.labels, minlength=len(self.names))
        order = sorted(range(len(self.names)), key=lambda k: (-numbers[k], k))
        return {self.names[k]: int(numbers[k]) for k in order if numbers[k]}

    def overlay(self) -> Image.Image:
        """The picture with boxes, masks, names and scores."""
        palette = overlay_palette(self.names, self.palette[: len(self.names)])
        return boxes_picture(self.image, self.boxes, self.labels, self.scores, self.names, palette, self.masks)

    def to_list(self) -> list[dict[str, Any]]:
        """One dictionary per object: ``class``, ``label``, ``score``, ``box`` and, where known, ``mask``.

        A mask is in COCO's compressed run lengths (``size`` and ``counts``), which ``pycocotools.mask.decode`` reads.
        """
        found = [
            {
                'class': self.names[label],
                'label': int(label),
                'score': round(float(score), 6),
                'box': [round(float(v), 2) for v in box],
            }
            for box, label, score in zip(self.boxes, self.labels, self.scores, strict=True)
        ]
        if self.masks is not None:
            from pycocotools import mask as coco_mask

            for entry, mask in zip(found, self.masks, strict=True):
                coded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
                entry['mask'] = {'size': list(coded['size']), 'counts': coded['counts'].decode('ascii')}
        return found

    def save(self, folder: str | Path, stem: str | None = None, force: bool = False) -> list[Path]:
        """Write ``<stem>_boxes.png`` and ``<stem>_boxes.json``.

        Args:
            folder: made when there is none.
            stem: by default that of the picture's file, or ``picture``.
            force: whether earlier results may be overwritten.

        Returns:
            The two files.

        Raises:
            UserError: if the folder cannot be written to, or holds such results and ``force`` is False.
        """
        stem = stem or (self.source.stem if self.source else 'picture')
        files = [stem + suffix for suffix in DETECTION_SUFFIXES]
        folder = prepare_folder(folder, files, force)
        picture = io.BytesIO()
        self.overlay().save(picture, 'PNG')
        height, width = self.image.shape[:2]
        content = {'width': width, 'height': height, 'classes': list(self.names), 'objects': self.to_list()}
        contents: tuple[bytes | str, ...] = (picture.getvalue(), json.dumps(content, ensure_ascii=False, indent=1))
        return [write_file(folder / name, data) for name, data in zip(files, contents, strict=True)]
