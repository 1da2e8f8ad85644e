"""What a model makes of pictures whose pixels are known."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from denseclip.apis.errors import UserError
from denseclip.apis.images import Picture
from denseclip.apis.inferencer import Inferencer
from denseclip.apis.segmentation import Segmentation
from denseclip.apis.stress.pictures import VOID, Labelled, Labels
from denseclip.evaluation.confusion import confusion_matrix, scores_of_confusion
from denseclip.evaluation.reliability import Reliability

_EXTRA = 2
"""Labels beyond the classes that a result can hold: a background of the model's own, and nothing."""
_MOST_NUMBERS = 2**26
"""Scores of pixels of the pictures that run together, 256 MiB."""
_MOST_AT_ONCE = 8


@dataclass
class Tally:
    """Right and wrong pixels of any number of pictures.

    Attributes:
        names: The classes, K.
        confusion: See :func:`denseclip.evaluation.confusion.confusion_matrix`, with room for labels of no class.
        reliability: Of the confidence of every pixel.
    """

    names: tuple[str, ...]
    confusion: torch.Tensor = field(init=False)
    reliability: Reliability = field(default_factory=Reliability)

    def __post_init__(self) -> None:
        side = len(self.names) + _EXTRA + 1
        self.confusion = torch.zeros(side, side, dtype=torch.long)

    def add(self, found: Segmentation, truth: Labels) -> None:
        """Take in one picture; pixels of no class (:data:`VOID`) do not count."""
        known = truth != VOID
        labels = found.label_map.astype(np.int64)
        count = len(self.names) + _EXTRA
        self.confusion += confusion_matrix(
            torch.from_numpy(labels), torch.from_numpy(np.where(known, truth, count)), count, count
        )
        assert found.pixel_scores is not None
        confidence = found.pixel_scores.max(axis=0).clip(0, 1)
        self.reliability.add(confidence[known], labels[known] == truth[known])

    def to_dict(self, classes: bool = False) -> dict[str, Any]:
        """Scores in percent, errors of calibration in 0..1.

        Args:
            classes: Also the IoU of each class that is there.
        """
        scores = scores_of_confusion(self.confusion)
        found: dict[str, Any] = {
            'mIoU': scores.miou_gt,
            'aAcc': scores.pixel_accuracy,
            'ECE': self.reliability.error(),
            'overconfidence': self.reliability.overconfidence(),
            'reliability': self.reliability.to_dict(),
        }
        if classes:
            pairs = zip(self.names, scores.iou.tolist(), strict=False)
            found['IoU'] = {name: iou for name, iou in pairs if iou == iou}
        return found


def look(
    model: Inferencer,
    pictures: Iterable[Labelled],
    classes: int,
    words: Any = None,
    after: Callable[[], None] | None = None,
) -> Iterator[tuple[Labelled, Segmentation]]:
    """Run a model, some pictures at once: so many that their scores fit into :data:`_MOST_NUMBERS`.

    Args:
        model: A segmentor.
        pictures: What it sees.
        classes: How many classes it tells apart.
        words: Its words; None: the present ones.
        after: Called after each picture.

    Yields:
        Each picture, and what was found in it, with scores of all pixels.
    """
    for group in _groups(pictures, classes + _EXTRA):
        results = deque(model.segment([Picture(one.rgb) for one in group], words, pixel_scores=True))
        for one in group:
            result = results.popleft()
            if not isinstance(result, Segmentation):
                raise UserError('stress needs semantic results: load the model with task="semantic".')
            yield one, result
            del result  # nothing of it is kept while the next pictures run
            if after is not None:
                after()


def _groups(pictures: Iterable[Labelled], planes: int) -> Iterator[list[Labelled]]:
    """Pictures that run together; each counts as the largest of them, for they are padded to one size.

    Args:
        pictures: All.
        planes: Scores of a pixel.
    """
    group: list[Labelled] = []
    largest = 0
    for one in pictures:
        height, width = one.rgb.shape[:2]
        together = max(largest, height * width * planes) * (len(group) + 1)
        if group and (len(group) == _MOST_AT_ONCE or together > _MOST_NUMBERS):
            yield group
            group, largest = [], 0
        group.append(one)
        largest = max(largest, height * width * planes)
    if group:
        yield group


def tally(
    model: Inferencer, pictures: Iterable[Labelled], names: tuple[str, ...], after: Callable[[], None] | None = None
) -> Tally:
    """Count what a model gets right with its present words."""
    found = Tally(names)
    for one, result in look(model, pictures, len(names), after=after):
        found.add(result, one.labels)
        del result  # before the next pictures run
    return found
