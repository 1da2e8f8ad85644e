"""Panoptic maps: COCO's coding of segment ids as colours, and training targets from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

VOID = 0
"""Id of pixels of no segment."""
MAX_ID = 256**3 - 1
"""Largest id that a colour can hold."""


def ids_to_rgb(ids: np.ndarray) -> np.ndarray:
    """Segment ids as colours: ``id = R + 256 G + 256**2 B``, COCO's panoptic format.

    Args:
        ids: Integers from 0 to :data:`MAX_ID`.

    Returns:
        uint8.

    Raises:
        ValueError: If an id is out of range.

    Shape:
        ids ``(H, W)``; result ``(H, W, 3)``, RGB
    """
    ids = np.asarray(ids)
    if ids.size and (ids.min() < 0 or ids.max() > MAX_ID):
        raise ValueError(f'segment ids must be within 0..{MAX_ID}, got {ids.min()}..{ids.max()}.')
    wide = ids.astype(np.uint32)
    return np.stack([wide & 255, (wide >> 8) & 255, wide >> 16], axis=-1).astype(np.uint8)


def rgb_to_ids(rgb: np.ndarray) -> np.ndarray:
    """The inverse of :func:`ids_to_rgb`.

    Args:
        rgb: uint8.

    Returns:
        int64.

    Shape:
        rgb ``(H, W, 3)``; result ``(H, W)``
    """
    wide = rgb.astype(np.int64)
    return wide[..., 0] + 256 * wide[..., 1] + 65536 * wide[..., 2]


def ids_of_picture(image: Image.Image, listed: Iterable[int] = ()) -> np.ndarray:
    """Segment ids of an open panoptic map: colours in COCO's coding, or the numbers of a grey file.

    Args:
        image: The map.
        listed: Ids that its annotation names. A palette holds either numbers or colours; what fits these is taken.

    Returns:
        int64 (H, W).

    Raises:
        ValueError: If it is neither.
    """
    if image.mode in ('RGB', 'RGBA'):
        return rgb_to_ids(np.asarray(image)[..., :3])
    numbers = np.asarray(image)
    if numbers.ndim != 2 or not (np.issubdtype(numbers.dtype, np.integer) or numbers.dtype == bool):
        raise ValueError(f'a panoptic map needs the colours R, G and B, or grey ids; this is {image.mode}')
    if image.mode == 'P':
        coloured = rgb_to_ids(np.asarray(image.convert('RGB')))
        known = np.array(sorted(listed), dtype=np.int64)
        if np.isin(coloured, known).sum() > np.isin(numbers, known).sum():
            return coloured
    return numbers.astype(np.int64)


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
