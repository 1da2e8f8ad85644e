"""What a label is: an object of a class in a picture, however a model found it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from denseclip.apis.results.base import Region, Result
from denseclip.apis.segmentation import BACKGROUND_NAME, Segmentation
from denseclip.structures.outlines import opencv
from denseclip.structures.run_lengths import coco_masks, pixels, run_lengths, run_lengths_of_part


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

    @property
    def mask(self) -> np.ndarray | None:
        """Bool, (H, W); decoded at every call, since an object that kept it would fill the memory with a whole set."""
        if self.code is None:
            return None
        return pixels(self.code)

    @property
    def area(self) -> float:
        """Pixels of the mask, or of the box if there is none."""
        if self.code is None:
            return Region(self.label, '', self.box, None).area
        return int(coco_masks().area(dict(self.code)))

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

    def keep(self, score: float | None, area: float, pixels: int) -> bool:
        """Whether a region of a score and an area becomes an object; ``pixels`` are those of the picture."""
        if self.min_confidence is not None and score is not None and score < self.min_confidence:
            return False
        return area > 0 and area >= (self.min_area or 0.0) * pixels


def objects_of(result: Result, rules: Rules, rest: bool = False) -> list[LabelObject]:
    """Objects of a result.

    Args:
        result: Of any model but one for anomalies.
        rules: Which become objects.
        rest: Whether pixels of the background, or of no object of a detector, are an object of their own, the last.

    Returns:
        The objects.
    """
    size = (int(result.image.shape[0]), int(result.image.shape[1]))
    left = _left_over(result, size) if rest else None
    found: list[LabelObject] = []
    for region in result.regions():
        for part, inside in _parts(region, rules, size):
            found.append(_object(len(found) + 1, part, inside, size))
            if isinstance(result, Segmentation) or left is None:
                continue
            if inside is None:
                left = None
            else:
                left[_inside(part.box)] &= ~inside
    if left is not None and left.any():
        rest_of = Region.of_mask(_classes(result), BACKGROUND_NAME, left)
        found.append(_object(len(found) + 1, rest_of, left[_inside(rest_of.box)], size))
    return found


def _classes(result: Result) -> int:
    """Number of classes, without the background."""
    return len(result.vocabulary) if isinstance(result, Segmentation) else len(result.names)


def _left_over(result: Result, size: tuple[int, int]) -> np.ndarray | None:
    """Where nothing is that was asked for; of a detector everything, before its objects are taken out.

    None where a semantic or panoptic model does not say.
    """
    if not isinstance(result, Segmentation):
        return np.ones(size, dtype=bool)
    return result.label_map == _classes(result) if result.vocabulary.background != 'none' else None


def _parts(region: Region, rules: Rules, size: tuple[int, int]) -> Iterator[tuple[Region, np.ndarray | None]]:
    """What becomes an object of a region: itself, or its connected areas; a mask's box is as wide as the mask.

    Yields:
        A region, and its mask inside its box; connected areas have that one alone, since hundreds of masks of the
        picture's size take seconds.
    """
    pixels = size[0] * size[1]
    if region.mask is None or not rules.split_regions:
        if rules.keep(region.score, region.area, pixels):
            if region.mask is None:
                yield region, None
                return
            whole = Region.of_mask(region.label, region.title, region.mask, region.score)
            yield whole, region.mask[_inside(whole.box)]
        return
    cv2 = opencv('connected regions')
    count, parts, about, _ = cv2.connectedComponentsWithStats(region.mask.astype(np.uint8), connectivity=8)
    for part in range(1, count):
        x, y, width, height, area = about[part].tolist()
        if rules.keep(region.score, area, pixels):
            box = (float(x), float(y), float(x + width), float(y + height))
            yield Region(region.label, region.title, box, None, region.score), parts[_inside(box)] == part


def _inside(box: tuple[float, float, float, float]) -> tuple[slice, slice]:
    """Rows and columns of a box of whole pixels."""
    x1, y1, x2, y2 = map(int, box)
    return slice(y1, y2), slice(x1, x2)


def _object(number: int, region: Region, inside: np.ndarray | None, size: tuple[int, int]) -> LabelObject:
    score = None if region.score is None else round(float(region.score), 6)
    code = None
    if region.mask is not None:
        code = run_lengths(region.mask)
    elif inside is not None:
        code = run_lengths_of_part(inside, (int(region.box[1]), int(region.box[0])), size)
    x1, y1, x2, y2 = (float(value) for value in region.box)
    height, width = size
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
