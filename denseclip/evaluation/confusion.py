"""Semantic scores from a confusion matrix, with both ways to divide the sum of IoUs.

A class that is predicted but never occurs in the ground truth has an IoU of 0. Whether it counts is a convention:
mmseg, OVSeg's and MAFT+'s evaluators divide by the classes that occur in the ground truth *or* in a prediction,
detectron2 since July 2022 by those of the ground truth alone. With hundreds of classes the second is points higher, so
no result here comes without its divisor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

DIVISORS = ('gt', 'gt_or_predicted')


def confusion_matrix(prediction: Tensor, truth: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Count pixels by predicted and true class.

    Args:
        prediction: Classes 0 to ``num_classes - 1``, and ``num_classes`` for no class (background), any shape.
        truth: Classes and ``ignore_index``, of the same shape.
        num_classes: Number of classes, K.
        ignore_index: Counted in the last column, outside all scores.

    Returns:
        LongTensor (K + 1, K + 1): rows are predictions, columns the ground truth; the last column holds ignored pixels,
        the last row what is predicted to be no class.

    Raises:
        ValueError: If a class is out of range or the shapes differ.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f'prediction {tuple(prediction.shape)} and truth {tuple(truth.shape)} differ in shape')
    prediction, truth, side = _numbers(prediction), _numbers(truth), num_classes + 1
    ignored = truth == ignore_index
    truth = truth.masked_fill(ignored, 0)
    for what, values, count in (('prediction', prediction, side), ('ground truth', truth, num_classes)):
        if not _within(values, count):
            scored = values if values is prediction else values[~ignored]
            raise ValueError(
                f'a {what} holds classes {int(scored.min())} to {int(scored.max())}, but there are {num_classes} '
                f'classes (ignored: {ignore_index})'
            )
    narrow = torch.int32 if side * side < 2**31 else torch.int64  # the numbers of a picture's cells, half the memory
    truth = truth.to(narrow).masked_fill_(ignored, num_classes)
    cells = truth.add_(prediction.to(narrow), alpha=side)
    return torch.bincount(cells, minlength=side * side).view(side, side)


def _numbers(labels: Tensor) -> Tensor:
    """Labels in a row, in a type that holds any ignored label: one of eight bits would take 65535 for 255."""
    labels = labels.flatten()
    return labels if labels.dtype in (torch.int32, torch.int64) else labels.long()


def _within(labels: Tensor, count: int) -> bool:
    """Whether labels are 0 to ``count - 1``."""
    return not labels.numel() or (int(labels.min()) >= 0 and int(labels.max()) < count)


@dataclass(frozen=True)
class SemanticScores:
    """Scores in percent.

    Attributes:
        iou: Per class, float64 (K); NaN where the class is not in the ground truth.
        accuracy: Per class, float64 (K); NaN likewise.
        miou_gt: Sum of IoUs divided by the number of classes in the ground truth.
        miou_gt_or_predicted: The same sum divided by the number of classes in the ground truth or a prediction.
        classes_gt: The first divisor.
        classes_gt_or_predicted: The second.
        frequency_iou: IoUs weighted by the share of the class among the scored pixels.
        mean_accuracy: Mean over the classes in the ground truth.
        pixel_accuracy: Share of right pixels.
        sets: For each named set of classes the two mIoUs and the pixel accuracy, and the harmonic mean of the set's and
            the others' mIoU. All other classes have the set's name with ``'un'`` before it, unless they are a set
            with a name of their own.
    """

    iou: Tensor
    accuracy: Tensor
    miou_gt: float
    miou_gt_or_predicted: float
    classes_gt: int
    classes_gt_or_predicted: int
    frequency_iou: float
    mean_accuracy: float
    pixel_accuracy: float
    sets: dict[str, dict[str, float]] = field(default_factory=dict)

    def miou(self, divisor: str) -> float:
        """One of the two mIoUs.

        Args:
            divisor: ``'gt'`` or ``'gt_or_predicted'``.
        """
        return {'gt': self.miou_gt, 'gt_or_predicted': self.miou_gt_or_predicted}[divisor]


def scores_of_confusion(confusion: Tensor, sets: Mapping[str, Sequence[int]] | None = None) -> SemanticScores:
    """Scores of a confusion matrix. A pixel that is predicted to be no class is a miss of its class, as in mmseg.

    Args:
        confusion: Of :func:`confusion_matrix`, summed over pictures.
        sets: Named sets of classes (for example the ones that training saw), scored apart as well.

    Shape:
        - confusion: :math:`(K + 1, K + 1)`
    """
    counts = confusion[:, :-1].double().cpu()
    hits, truth, predicted = counts.diagonal(), counts.sum(dim=0), counts[:-1].sum(dim=1)
    present, union = truth > 0, truth + predicted - hits
    missing = torch.full_like(hits, torch.nan)
    iou = torch.where(present, 100 * hits / union.clamp_min(1), missing)
    accuracy = torch.where(present, 100 * hits / truth.clamp_min(1), missing)
    scored = truth.sum()
    everything = _subset_scores(torch.ones_like(present), iou, hits, truth, union)
    return SemanticScores(
        iou=iou,
        accuracy=accuracy,
        miou_gt=everything['mIoU_gt'],
        miou_gt_or_predicted=everything['mIoU_gt_or_predicted'],
        classes_gt=int(present.sum()),
        classes_gt_or_predicted=int((union > 0).sum()),
        frequency_iou=float((truth / scored * iou.nan_to_num()).sum()),
        mean_accuracy=float(accuracy[present].mean()),
        pixel_accuracy=everything['pAcc'],
        sets=_set_scores(sets or {}, iou, hits, truth, union),
    )


def _subset_scores(chosen: Tensor, iou: Tensor, hits: Tensor, truth: Tensor, union: Tensor) -> dict[str, float]:
    """Both mIoUs and pixel accuracy of the classes where ``chosen`` is true; NaN where nothing can be divided."""
    total = iou[chosen].nan_to_num().sum()
    return {
        'mIoU_gt': float(total / (truth[chosen] > 0).sum()),
        'mIoU_gt_or_predicted': float(total / (union[chosen] > 0).sum()),
        'pAcc': float(100 * hits[chosen].sum() / truth[chosen].sum()),
    }


def _set_scores(
    sets: Mapping[str, Sequence[int]], iou: Tensor, hits: Tensor, truth: Tensor, union: Tensor
) -> dict[str, dict[str, float]]:
    scores: dict[str, dict[str, float]] = {}
    named = [frozenset(members) for members in sets.values()]
    for name, members in sets.items():
        inside = torch.zeros_like(truth, dtype=torch.bool)
        inside[list(members)] = True
        first = _subset_scores(inside, iou, hits, truth, union)
        second = _subset_scores(~inside, iou, hits, truth, union)
        harmonic = {
            f'hIoU_{divisor}': _harmonic(first[f'mIoU_{divisor}'], second[f'mIoU_{divisor}']) for divisor in DIVISORS
        }
        scores[name] = {**first, **harmonic}
        if frozenset(range(len(truth))) - frozenset(members) not in named:
            scores[f'un{name}'] = second
    return scores


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0
