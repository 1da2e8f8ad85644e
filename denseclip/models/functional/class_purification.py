"""Which classes a picture shows, by how their maps change when they spread along attention (FreeCP)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Boxes = list[tuple[int, int, int, int]]
_TINY = 1e-8
ACTIVE = 0.4
"""Part of its largest value above which a map counts as active."""


def transition(weights: Tensor) -> Tensor:
    """How scores travel between patches: attention weights made nearly doubly stochastic, symmetric, and squared.

    Source: FreeCP (Chen et al., ICCV 2025), section on attention refinement; steps of ``freecp_segmentor.py``.

    Shape:
        - weights: :math:`(hw, hw)`, a mean over blocks and heads without the class token; result: :math:`(hw, hw)`
    """
    found = weights.float()
    for _ in range(3):
        found = found / found.sum(dim=0, keepdim=True)
        found = found / found.sum(dim=1, keepdim=True)
    found = (found + found.T) / 2
    return found @ found


def active_boxes(plane: Tensor) -> Boxes:
    """Boxes around the active parts of a map, and around their holes, as (top, bottom, left, right).

    As in FreeCP's code the map is cut to 256 steps, and a part that touches the right or lower border loses its last
    column or row. A map without an active part has one empty box.

    Shape:
        - plane: :math:`(h, w)`, values 0..1
    """
    import cv2
    import numpy as np

    steps = (plane.detach().float().cpu().numpy() * 255).astype(np.uint8)
    active = (steps > int(ACTIVE * steps.max())).astype(np.uint8)
    height, width = active.shape
    outlines = cv2.findContours(active, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[-2]
    boxes = []
    for left, top, wide, high in map(cv2.boundingRect, outlines):
        boxes.append((top, min(top + high, height - 1), left, min(left + wide, width - 1)))
    return boxes or [(0, 0, 0, 0)]


def spread_maps(maps: Tensor, travel: Tensor) -> Tensor:
    """Maps of classes after what lies in their active boxes has travelled, each from 0 to 1.

    Args:
        maps: One per class, 0..1 over all of them.
        travel: See :func:`transition`.

    Shape:
        - maps and result: :math:`(K, h, w)`; travel: :math:`(hw, hw)`
    """
    planes = maps.cpu()
    inside = torch.zeros_like(planes)  # written where the boxes are found, and moved once
    for plane, mask in zip(planes, inside, strict=True):
        for top, bottom, left, right in active_boxes(plane):
            mask[top:bottom, left:right] = 1
    spread = ((maps * inside.to(maps.device)).float().flatten(1) @ travel.T).view(maps.shape)
    low, high = (value[:, None, None] for value in (spread.flatten(1).amin(dim=1), spread.flatten(1).amax(dim=1)))
    return (spread - low) / (high - low + _TINY)


def map_agreement(before: Tensor, after: Tensor) -> Tensor:
    """How much maps overlap with themselves after they have spread: common part over the plain sum, 0..0.5.

    Shape:
        - before, after: :math:`(K, h, w)`; result: :math:`(K,)`
    """
    before, after = before.flatten(1).float(), after.flatten(1).float()
    return (before * after).sum(dim=1) / (before.sum(dim=1) + after.sum(dim=1) + _TINY)


def rival_groups(maps: Tensor, overlap: float) -> list[list[int]]:
    """Classes whose maps overlap, directly or through others; a class without rivals is a group of its own.

    Args:
        maps: One per class.
        overlap: Least soft intersection over union of rivals.

    Shape:
        - maps: :math:`(K, h, w)`
    """
    flat, count = maps.flatten(1), len(maps)
    near = torch.stack(
        [torch.minimum(one, flat).sum(dim=1) / torch.maximum(one, flat).sum(dim=1).clamp_min(_TINY) for one in flat]
    )
    reach = (near >= overlap) | torch.eye(count, dtype=torch.bool, device=maps.device)
    for _ in range(max(1, count.bit_length())):  # paths of twice the length each time
        reach = (reach.float() @ reach.float()) > 0
    first = reach.byte().argmax(dim=1).tolist()
    return [[k for k in range(count) if first[k] == leader] for leader in sorted(set(first))]


def crop_boxes(maps: Tensor, patch: Sequence[int]) -> tuple[Boxes, int]:
    """Where rivals are, in pixels: the active parts of the mean of their maps.

    Args:
        maps: Of the rivals.
        patch: Height and width of a patch in pixels.

    Returns:
        Boxes with something in them, and how many had nothing.

    Shape:
        - maps: :math:`(k, h, w)`
    """
    boxes = active_boxes(maps.mean(dim=0))
    full = [(t * patch[0], b * patch[0], x * patch[1], y * patch[1]) for t, b, x, y in boxes if b > t and y > x]
    return full, len(boxes) - len(full)
