"""Training targets of query-based models from label maps and panoptic maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def segment_targets(sample: Any, size: tuple[int, int] | None = None, ignore_index: int = 255) -> tuple[Tensor, Tensor]:
    """Labels and masks to train a query-based model with.

    From ``gt_panoptic_seg`` (one mask per segment; crowds and segments without a pixel are left out) where the data
    sample has it, else from ``gt_sem_seg`` (one mask per class present, as in MaskFormer's semantic models).

    Args:
        sample: Data sample.
        size: Height and width of the padded input; masks are extended by zeros on the right and below. None: that of
            the map.
        ignore_index: Label of pixels that belong to no class.

    Returns:
        Labels, int64, and masks, bool; both empty for a picture without a segment.

    Shape:
        labels ``(n,)``, masks ``(n, H, W)``
    """
    if 'gt_panoptic_seg' in sample:
        ids = sample.gt_panoptic_seg.data[0]
        segments: list[Mapping[str, Any]] = sample.gt_panoptic_seg.segments_info
        kept = [(s['id'], s['category_id']) for s in segments if not s['iscrowd']]
        pairs = torch.tensor(kept, dtype=torch.long, device=ids.device).reshape(-1, 2)
        numbers, labels = pairs.unbind(dim=1)
    else:
        ids = sample.gt_sem_seg.data[0]
        numbers = ids.unique()
        numbers = numbers[numbers != ignore_index].long()
        labels = numbers
    masks = ids[None] == numbers[:, None, None]
    present = masks.flatten(1).any(dim=1)
    labels, masks = labels[present], masks[present]
    if size is not None:
        masks = F.pad(masks, (0, size[1] - masks.shape[2], 0, size[0] - masks.shape[1]))
    return labels, masks
