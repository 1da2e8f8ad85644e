"""What a label is: an object of a class in a picture, however a model found it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from denseclip.apis.results.base import Region, Result
from denseclip.apis.segmentation import BACKGROUND_NAME, Segmentation
from denseclip.structures.outlines import coco_masks, opencv, run_lengths


@dataclass(frozen=True, eq=False)
class LabelObject:
    """One object of a picture.

    Attributes:
        id: Its number in the picture, for good.
        label: Its class; the number of classes stands for the background.
        box: Corners ``x1, y1, x2, y2`` in pixels.
        code: Its mask in COCO's compressed run lengths; None for a box alone.
        score: How sure the model is, 0..1; None: not known.
    """

    id: int
    label: int
    box: tuple[float, float, float, float]
    code: Mapping[str, Any] | None = None
    score: float | None = None

    @cached_property
    def mask(self) -> np.ndarray | None:
        """Bool, (H, W)."""
        if self.code is None:
            return None
        return coco_masks().decode({**self.code, 'counts': self.code['counts'].encode('ascii')}).astype(bool)

    @property
    def area(self) -> float:
        """Pixels of the mask, or of the box if there is none."""
        return Region(self.label, '', self.box, self.mask).area

    def of_class(self, label: int) -> LabelObject:
        """The same object of another class."""
        return replace(self, label=label)

    def to_json(self) -> dict[str, Any]:
        """Plain data, from which :meth:`from_json` makes the same object."""
        return {'id': self.id, 'label': self.label, 'box': list(self.box), 'mask': self.code, 'score': self.score}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LabelObject:
        """See :meth:`to_json`."""
        x1, y1, x2, y2 = data['box']
        return cls(data['id'], data['label'], (x1, y1, x2, y2), data['mask'], data['score'])


@dataclass(frozen=True)
class Rules:
    """Which of a model's findings become objects.

    Attributes:
        split_regions: Every connected region of a mask is an object of its own.
        min_confidence: Least score, 0..1; of objects without one nothing is asked.
        min_area: Least share of the picture, 0..1.
    """

    split_regions: bool = False
    min_confidence: float | None = None
    min_area: float | None = None

    def keep(self, region: Region, pixels: int) -> bool:
        """Whether a region becomes an object; ``pixels`` are those of the picture."""
        if self.min_confidence is not None and region.score is not None and region.score < self.min_confidence:
            return False
        return region.area > 0 and region.area >= (self.min_area or 0.0) * pixels


def objects_of(result: Result, rules: Rules, rest: bool = False) -> list[LabelObject]:
    """Objects of a result.

    Args:
        result: Of any model but one for anomalies.
        rules: Which become objects.
        rest: Whether pixels of the background, or of no object of a detector, are an object of their own, the last.

    Returns:
        The objects.
    """
    pixels = result.image.shape[0] * result.image.shape[1]
    found = [part for region in result.regions() for part in _parts(region, rules) if rules.keep(part, pixels)]
    background = _background(result, found) if rest else None
    if background is not None and background.any():
        found.append(Region.of_mask(_classes(result), BACKGROUND_NAME, background))
    return [_object(number, region, result.image.shape[:2]) for number, region in enumerate(found, start=1)]


def _classes(result: Result) -> int:
    """Number of classes, without the background."""
    return len(result.vocabulary) if isinstance(result, Segmentation) else len(result.names)


def _background(result: Result, found: Sequence[Region]) -> np.ndarray | None:
    """Where nothing is that was asked for; None where the model does not say."""
    if isinstance(result, Segmentation):
        label = _classes(result)
        known = label < len(result.names) and result.names[label] == BACKGROUND_NAME
        return result.label_map == label if known else None
    masks = [region.mask for region in found]
    if any(mask is None for mask in masks):
        return None
    covered = np.zeros(result.image.shape[:2], dtype=bool)
    for mask in masks:
        covered |= mask
    return ~covered


def _parts(region: Region, rules: Rules) -> Iterator[Region]:
    if not rules.split_regions or region.mask is None:
        yield region
        return
    count, parts = opencv('connected regions').connectedComponents(region.mask.astype(np.uint8), connectivity=8)
    for part in range(1, count):
        yield Region.of_mask(region.label, region.title, parts == part, region.score)


def _object(number: int, region: Region, size: tuple[int, ...]) -> LabelObject:
    code, score = None, None if region.score is None else round(float(region.score), 6)
    if region.mask is not None:
        region = Region.of_mask(region.label, region.title, region.mask)  # a model's box may be wider
        code = run_lengths(region.mask) if region.mask is not None else None
    x1, y1, x2, y2 = (float(value) for value in region.box)
    height, width = size[:2]
    box = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    return LabelObject(number, region.label, box, code, score)


def confidences_of(result: Result) -> np.ndarray | None:
    """How sure a semantic model is of the class of each pixel.

    Args:
        result: Made with ``pixel_scores=True``.

    Returns:
        ``uint8`` (H, W), 255 for certain; None where the model says nothing about pixels.
    """
    scores = getattr(result, 'pixel_scores', None)
    if scores is None or not isinstance(result, Segmentation):
        return None
    labels = result.label_map.astype(np.intp)
    said = labels < len(scores)
    chosen = np.take_along_axis(scores, np.where(said, labels, 0)[None], axis=0)[0]
    return np.where(said, np.clip(np.rint(chosen * 255), 0, 255), 0).astype(np.uint8)
