"""Pseudo-labels for pixels that have none.

Source: MaskCLIP (Zhou et al., "Extract Free Dense Labels from CLIP", ECCV 2022), section 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .label_map import chunked_label_map

UNLABELLED = -1
"""Label of a pixel that is to get a pseudo-label; 255 stays "ignore"."""


@torch.no_grad()
def fill_unlabelled(labels: Tensor, scores: Tensor, candidates: Sequence[int] | None = None) -> Tensor:
    """Give each unlabelled pixel the class of the best score.

    Args:
        labels: Class ids, :data:`UNLABELLED` and 255.
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


def feature_distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean absolute difference between the student's features and the teacher's unit-length ones.

    Args:
        student: Features before the text classifier; resized bilinearly to the teacher's grid.
        teacher: CLIP's features of the same channels; made unit length here.

    Shape:
        - student: :math:`(N, E, h, w)`; teacher: :math:`(N, E, h', w')`; result: a scalar
    """
    size = teacher.shape[-2:]
    resized = F.interpolate(student, size=size, mode='bilinear', align_corners=False)
    return F.l1_loss(resized, F.normalize(teacher, dim=1))
