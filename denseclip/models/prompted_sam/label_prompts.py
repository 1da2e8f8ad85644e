"""Prompts for Segment Anything from a label map, and the label map that its masks make."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.core.placement import Size, nearest, resize

from .doors import PROMPTS_AT_ONCE, PromptedSAM, SAMView, longest_side

_NUMBERS_AT_ONCE = 2**26


@dataclass(frozen=True)
class Refinement:
    """How labels are refined by SAM's masks.

    Source: Trident (Shi et al., ICCV 2025), refinement by prompts; the constants are those of its code.

    Attributes:
        least_score: Pixels whose best class is less probable prompt nothing, 0..1.
        least_quality: Masks that SAM takes to be worse are left out.
        least_area: Areas of fewer pixels, of half the picture's size, prompt nothing.
        rough: Factor of a class's probabilities as logits of a rough mask.
        as_released: Rough masks as the authors' code embeds them, without a batch, see :meth:`PromptedSAM.masks`.
    """

    least_score: float = 0.2
    least_quality: float = 0.8
    least_area: int = 225
    rough: float = 0.005
    as_released: bool = True


@dataclass(frozen=True)
class LabelPrompts:
    """One prompt for each connected area of a label, in pixels of the label map at half its size.

    Attributes:
        classes: Labels that have areas, rising, (C,).
        owner: Which of them an area belongs to, (P,).
        points: Most probable pixel of each area, ``(x, y)``.
        boxes: ``(x1, y1, x2, y2)``, ends inclusive.
        rough: Probabilities of those labels.

    Shape:
        - points: :math:`(P, 2)`; boxes: :math:`(P, 4)`; rough: :math:`(C, h, w)`
    """

    classes: Tensor
    owner: Tensor
    points: Tensor
    boxes: Tensor
    rough: Tensor


def prompts_of(labels: Tensor, scores: Tensor, how: Refinement) -> LabelPrompts:
    """Prompts of a label map.

    Args:
        labels: Label of each pixel; labels without a plane of scores prompt nothing.
        scores: Probabilities of the classes.
        how: What is left out.

    Shape:
        - labels: :math:`(H, W)`; scores: :math:`(K, H, W)`
    """
    size = max(1, labels.shape[0] // 2), max(1, labels.shape[1] // 2)
    small = nearest(labels, size).long()
    probable = resize(scores.float(), size)
    known = (small < len(scores)) & (probable.amax(dim=0) >= how.least_score)
    small = torch.where(known, small, 0)
    # Labels were taken before the scores were reduced, so a class may have lost its peaks.
    known &= (probable.flatten(1).amax(dim=1) >= how.least_score)[small]
    chosen = probable.gather(0, small[None])[0]
    small = torch.where(known, small, -1)
    areas = _areas(small.cpu().numpy(), chosen.cpu().numpy(), how.least_area)
    found = torch.as_tensor(areas, device=labels.device)
    classes, owner = found[:, 0].unique(return_inverse=True)
    return LabelPrompts(classes, owner, found[:, 1:3], found[:, 3:], probable[classes])


def _areas(labels: np.ndarray, scores: np.ndarray, least: int) -> np.ndarray:
    """Label, most probable pixel (x, y) and box of every connected area, (P, 7); corners connect."""
    found = [np.zeros((0, 7), dtype=np.int64)]
    for label in np.unique(labels[labels >= 0]):
        _, numbers, stats, _ = cv2.connectedComponentsWithStats((labels == label).astype(np.uint8), connectivity=8)
        inside = np.flatnonzero(numbers)
        # By area, then by score; the first pixel among equals: the sort is stable.
        order = inside[np.lexsort((-scores.flat[inside], numbers.flat[inside]))]
        _, first = np.unique(numbers.flat[order], return_index=True)
        best = order[first]
        left, top, width, height, area = stats[1:].T
        rows = np.stack(
            [
                np.full(len(best), label),
                best % labels.shape[1],
                best // labels.shape[1],
                left,
                top,
                left + width - 1,
                top + height - 1,
            ],
            axis=1,
        )
        found.append(rows[area >= least].astype(np.int64))
    return np.concatenate(found)


def refined_labels(labels: Tensor, scores: Tensor, sam: PromptedSAM, view: SAMView, how: Refinement) -> Tensor:
    """Labels after each area has been asked for: where a good mask lies, its label, by mask and class probability.

    Args:
        labels: Label map in the picture's size.
        scores: Probabilities of the classes in that size.
        sam: Is asked.
        view: The picture.
        how: What is asked.

    Shape:
        - labels and result: :math:`(H, W)`; scores: :math:`(K, H, W)`
    """
    prompts = prompts_of(labels, scores, how)
    if not len(prompts.classes):
        return labels
    size = (prompts.rough.shape[1], prompts.rough.shape[2])
    seen = longest_side(size, sam.side)
    factor = prompts.points.new_tensor([seen[1] / size[1], seen[0] / size[0]], dtype=torch.float32)
    points, boxes = prompts.points * factor, prompts.boxes * factor.repeat(2)
    rough = _rough_masks(prompts, sam.mask_side, view.size, how)
    best = scores.new_full((len(prompts.classes), *view.size), float('-inf'), dtype=torch.float32)
    step = max(1, min(PROMPTS_AT_ONCE, _NUMBERS_AT_ONCE // (view.size[0] * view.size[1])))
    for start in range(0, len(points), step):
        some = slice(start, start + step)
        owner = prompts.owner[some]
        logits, quality = sam.masks(view, points[some], boxes[some], rough[owner], how.as_released)
        bad = (quality <= how.least_quality)[:, None, None]
        logits = sam.enlarge(view, logits).masked_fill(bad, float('-inf'))
        best.scatter_reduce_(0, owner[:, None, None].expand_as(logits), logits, 'amax')
    weighted = torch.where(best > 0, best.sigmoid() * scores[prompts.classes], 0.0)
    most, index = weighted.max(dim=0)
    return torch.where(most > 0, prompts.classes[index], labels)


def _rough_masks(prompts: LabelPrompts, side: int, size: Size, how: Refinement) -> Tensor:
    """Logits of rough masks in SAM's square, (C, s, s)."""
    small = resize(prompts.rough, longest_side(size, side))
    small = torch.where(small > how.least_score, small * how.rough, 0.0)
    height, width = small.shape[1:]
    return F.pad(small, (0, side - width, 0, side - height))
