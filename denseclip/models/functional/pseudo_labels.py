"""Pseudo-labels for pixels that have none.

Sources: MaskCLIP (Zhou et al., "Extract Free Dense Labels from CLIP", ECCV 2022), section 3.4; NoLA (Imam et al.,
"CLIP meets DINO for Tuning Zero-Shot Classifier using Unlabeled Image Collections", 2024).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .label_map import chunked_label_map

_CHANNELS_AT_ONCE = 32
UNLABELLED = -1
"""Label of a pixel that is to get a pseudo-label."""


@torch.no_grad()
def fill_unlabelled(labels: Tensor, scores: Tensor, candidates: Sequence[int] | None = None) -> Tensor:
    """Give each unlabelled pixel the class of the best score.

    Args:
        labels: Class ids, :data:`UNLABELLED`, and the label of pixels that count nowhere.
        scores: Scores of any scale; resized bilinearly to the size of the labels.
        candidates: Class ids that a pseudo-label may have (the unseen classes of zero-shot segmentation); None: all.

    Raises:
        ValueError: If a candidate is no class of the scores.

    Shape:
        - labels and result: :math:`(N, H, W)`
        - scores: :math:`(N, K, h, w)`
    """
    if candidates is not None:
        bad = [c for c in candidates if not 0 <= c < scores.shape[1]]
        if bad or not candidates:
            raise ValueError(f'candidates={list(candidates)}: give class ids from 0 to {scores.shape[1] - 1}.')
        scores = scores[:, list(candidates)]
    size = (labels.shape[-2], labels.shape[-1])
    best = torch.stack([chunked_label_map(picture, [size]) for picture in scores]).long()
    if candidates is not None:
        best = torch.tensor(list(candidates), device=labels.device)[best]
    return torch.where(labels == UNLABELLED, best.to(labels.dtype), labels)


def samples_per_class(samples: int, classes: int, share: float = 0.2, least: int = 16) -> int:
    """How many of the most confident samples of each class NoLA trusts: ``share`` of a class's part, but ``least``.

    Args:
        samples: Number of all samples.
        classes: Number of classes.
        share: Part of what a class would have if all were equal.
        least: Smallest answer.
    """
    return max(least, int(share * samples / classes))


@torch.no_grad()
def confident_samples(
    probabilities: Tensor, count: int, *, choices: int = 3, classes: Sequence[int] | None = None
) -> tuple[Tensor, Tensor]:
    """The most confident samples of each class, the same number of each as far as there are so many.

    A class that no sample prefers takes those that have it in second place, or, if none has, in third. Classes take in
    turn, so that a sample that several could take belongs to the first of them.

    Args:
        probabilities: Of the classes.
        count: Samples per class at most, see :func:`samples_per_class`.
        choices: Places that are looked at.
        classes: Classes that take, in this order; None: all. One that no sample has in any of the places takes none.

    Returns:
        Indices of the samples, and their pseudo-labels; class by class, by falling probability of that class.

    Shape:
        - probabilities: :math:`(N, K)`; results: :math:`(M,)`
    """
    values, ranked = probabilities.topk(min(choices, probabilities.shape[1]), dim=1)
    taken = torch.zeros(len(probabilities), dtype=torch.bool, device=probabilities.device)
    indices, labels = [taken.new_zeros(0, dtype=torch.long)], [taken.new_zeros(0, dtype=torch.long)]
    for label in range(probabilities.shape[1]) if classes is None else classes:
        for place in range(ranked.shape[1]):
            found = (ranked[:, place] == label).nonzero()[:, 0]
            if len(found):
                order = values[found, place].argsort(descending=True, stable=True)[:count]
                mine = found[order]
                mine = mine[~taken[mine]]
                taken[mine] = True
                indices.append(mine)
                labels.append(torch.full_like(mine, label))
                break
    return torch.cat(indices), torch.cat(labels)


@torch.no_grad()
def surest_labels(probabilities: Tensor, count: int) -> Tensor:
    """A label for the most confident samples of each class, and :data:`UNLABELLED` for all others.

    The choice of :func:`confident_samples` with ``choices=1``, without a wait for the device. A class that no sample
    prefers takes none: in a batch of pictures it is usually not there.

    Args:
        probabilities: Of the classes.
        count: Samples per class at most.

    Shape:
        - probabilities: :math:`(N, K)`; result: :math:`(N)`
    """
    values, best = probabilities.max(dim=1)
    classes = torch.arange(probabilities.shape[1], device=best.device)
    own = torch.where(best == classes[:, None], values, -1.0)
    kept, index = (part[:, :count] for part in own.sort(dim=1, descending=True, stable=True))
    chosen = torch.zeros_like(own, dtype=torch.bool).scatter_(1, index, kept >= 0).any(dim=0)
    return torch.where(chosen, best, UNLABELLED)


def feature_distillation_loss(student: Tensor, teacher: Tensor, counted: Tensor) -> Tensor:
    """Mean absolute difference between the student's features and the teacher's unit-length ones, pixel by pixel.

    Both are resized bilinearly to the size of the labels; pixels that do not count take no part. Channels are compared
    a few at a time and anew in the backward pass, so that features in the size of the labels are never kept.

    Source: MaskCLIP's code (``MaskClipPlusHead`` at 245d31f, ``distill_labeled``).

    Args:
        student: Features before the text classifier.
        teacher: CLIP's features of the same channels; made unit length here.
        counted: Pixels that count, bool.

    Returns:
        A scalar; 0 where no pixel counts.

    Shape:
        - student: :math:`(N, E, h, w)`; teacher: :math:`(N, E, h', w')`; counted: :math:`(N, H, W)`
    """
    unit = F.normalize(teacher, dim=1)
    parts = zip(student.split(_CHANNELS_AT_ONCE, dim=1), unit.split(_CHANNELS_AT_ONCE, dim=1), strict=True)
    weights = counted.unsqueeze(1).to(student.dtype)
    sums = [checkpoint(_difference, mine, theirs, weights, use_reentrant=False) for mine, theirs in parts]
    return torch.stack(sums).sum() / (weights.sum() * student.shape[1]).clamp_min(1)


def _difference(student: Tensor, teacher: Tensor, weights: Tensor) -> Tensor:
    size = weights.shape[-2:]
    mine, theirs = (F.interpolate(part, size=size, mode='bilinear', align_corners=False) for part in (student, teacher))
    return ((mine - theirs).abs() * weights).sum()
