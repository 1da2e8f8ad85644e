"""The result of looking for objects in one picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from denseclip.apis.results.base import Region, Result
from denseclip.files.names import shown
from denseclip.visualization.boxes import boxes_picture
from denseclip.visualization.palette import overlay_palette


@dataclass(frozen=True, eq=False)
class Detections(Result):
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
        active: see :class:`Result`, as ``active_by``.
    """

    kind: ClassVar[str] = 'instance'

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    masks: np.ndarray | None
    names: tuple[str, ...]
    palette: np.ndarray
    image: np.ndarray
    source: Path | None = None
    active: Mapping[str, float | None] | None = None
    active_by: str | None = None

    @classmethod
    def from_supervision(
        cls, found: Any, image: np.ndarray, names: Sequence[str] | None = None, source: Path | None = None
    ) -> Detections:
        """From ``supervision.Detections``, the way back from :meth:`to_supervision`; surest first.

        Args:
            found: ``supervision.Detections``, filtered, tracked or merged as you like.
            image: The picture, ``H x W x 3`` RGB, ``uint8``.
            names: Class names in label order; by default those that came with the detections.
            source: The picture's file.

        Raises:
            UserError: If classes or sizes do not fit.
        """
        from denseclip.apis.results.supervision import instances

        return instances(found, image, names, source)

    def __len__(self) -> int:
        return len(self.labels)

    def above(self, score: float, share: float = 0.0) -> Detections:
        """The objects with at least this score, whose mask (or box) covers at least this share of the picture."""
        keep = (self.scores >= score) & (self._shares() >= share)
        masks = None if self.masks is None else self.masks[keep]
        return replace(self, boxes=self.boxes[keep], labels=self.labels[keep], scores=self.scores[keep], masks=masks)

    def _shares(self) -> np.ndarray:
        """Part of the picture that each mask covers, or each box where there are none."""
        height, width = self.image.shape[:2]
        if self.masks is not None:
            return self.masks.mean(axis=(1, 2)) if len(self.masks) else np.zeros(0)
        sides = np.clip(self.boxes[:, 2:] - self.boxes[:, :2], 0, None)
        return sides.prod(axis=1) / (height * width)

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
            from denseclip.structures.run_lengths import run_lengths  # needs pycocotools, which results do not

            for entry, mask in zip(found, self.masks, strict=True):
                entry['mask'] = run_lengths(mask)
        return found

    def regions(self) -> Iterator[Region]:
        """The objects, surest first."""
        for place, label in enumerate(self.labels.tolist()):
            x1, y1, x2, y2 = (float(value) for value in self.boxes[place])
            mask = None if self.masks is None else self.masks[place]
            yield Region(label, self.names[label], (x1, y1, x2, y2), mask, float(self.scores[place]))

    def summary(self) -> str:
        """How many objects of which class, for the terminal."""
        height, width = self.image.shape[:2]
        lines = [f'{shown(self.source)}  {width} x {height}  {len(self)} objects']
        lines += [f'  {count:>5} x {shown(name)}' for name, count in self.counts().items()]
        return '\n'.join([*lines, *self.chosen_lines()])
