"""Cutting masks out of a picture, on numpy: what ``denseclip.models.functional.region_crops`` does with PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from denseclip.runtime.kinds import Regions
from denseclip.runtime.label_maps import Box
from denseclip.runtime.mask_results import sigmoid
from denseclip.runtime.resizing import Size, bilinear_matrix

_CUBIC = -0.75
_SAMPLES = 128  # sides that areas and overlaps are counted on


class MaskPlanes:
    """Masks of a picture at the size of the network's input, one at a time: all of them would fill the memory.

    Args:
        logits: At the resolution of the graph.
        padded: Size of the network's input.
        valid: The part of it without padding.

    Shape:
        - logits: :math:`(Q, h, w)`
    """

    def __init__(self, logits: np.ndarray, padded: Size, valid: Box) -> None:
        self.logits = logits
        self.padded, self.valid = padded, valid
        self._down = bilinear_matrix(logits.shape[1], padded[0])[valid[0] : valid[1]].astype(np.float32)
        self._across = bilinear_matrix(logits.shape[2], padded[1])[valid[2] : valid[3]].astype(np.float32).T

    def __len__(self) -> int:
        return len(self.logits)

    def __getitem__(self, number: int) -> np.ndarray:
        """Shares of the pixels, 0..1, of a mask, (H, W) without padding."""
        return sigmoid(self._down @ self.logits[number] @ self._across)

    def union(self, numbers: np.ndarray, threshold: float) -> np.ndarray:
        """Pixels in any of some masks, bool (H, W)."""
        found = np.zeros((len(self._down), self._across.shape[1]), dtype=bool)
        for number in numbers:
            found |= self[number] > threshold
        return found


@dataclass(frozen=True)
class Seen:
    """What a first look at all masks shows.

    Attributes:
        filled: Masks that have a pixel.
        stand_in: The mask whose embedding each takes: itself, a near-duplicate that comes before it, or -1.
    """

    filled: np.ndarray
    stand_in: np.ndarray


def look(masks: MaskPlanes, rule: Regions) -> Seen:
    """Which masks have a pixel, and which are worth a closer look."""
    height, width = masks.valid[1] - masks.valid[0], masks.valid[3] - masks.valid[2]
    step = max(1, min(height, width) // _SAMPLES)
    filled, sampled = np.zeros(len(masks), dtype=bool), []
    for number in range(len(masks)):
        inside = masks[number] > rule.threshold
        filled[number] = inside.any()
        sampled.append(inside[::step, ::step])
    numbers = np.arange(len(masks))
    if rule.min_area <= 0 and rule.max_overlap is None:
        return Seen(filled, numbers)
    return Seen(filled, _stand_ins(np.stack(sampled).reshape(len(masks), -1), rule))


def _stand_ins(inside: np.ndarray, rule: Regions) -> np.ndarray:
    """See ``denseclip.models.functional.mask_selection.representatives``; masks (Q, P) in the order given."""
    numbers = np.arange(len(inside))
    alive = inside.mean(axis=1, dtype=np.float32) >= rule.min_area
    if rule.max_overlap is None:
        return np.where(alive, numbers, -1)
    flat = inside.astype(np.float32)
    common, area = flat @ flat.T, flat.sum(axis=1)
    overlaps = common / np.maximum(area[:, None] + area[None] - common, 1)
    kept: list[int] = []
    found = np.full(len(inside), -1)
    for number in numbers[alive]:
        near = [other for other in kept if overlaps[number, other] > rule.max_overlap]
        if not near:
            kept.append(number)
        found[number] = near[0] if near else number
    return found


def cut_out(image: np.ndarray, share: np.ndarray, rule: Regions) -> tuple[np.ndarray, np.ndarray]:
    """A picture of a mask that has a pixel, and the mask in the same frame.

    Args:
        image: See :func:`relative`.
        share: Shares of the pixels, 0..1.
        rule: How it is cut.

    Shape:
        - image: :math:`(H, W, 3)`; share: :math:`(H, W)`; results: :math:`(3, S_h, S_w)` and :math:`(S_h, S_w)`
    """
    left, top, right, bottom = _box(share > rule.threshold, rule.expand)
    part = share[top:bottom, left:right]
    part = part if rule.matting else (part > rule.threshold).astype(np.float32)
    rows, columns = (_axis(side, length) for side, length in zip(part.shape, rule.size, strict=True))
    pixels = image[top:bottom, left:right] * part[..., None]
    squeezed = sum(rows[1][:, k, None, None] * pixels[rows[0][:, k]] for k in range(4))
    done = sum(columns[1][None, :, k, None] * squeezed[:, columns[0][:, k]] for k in range(4))
    return done.transpose(2, 0, 1) + background(rule)[:, None, None], part[rows[2]][:, columns[2]]


def relative(image: np.ndarray, rule: Regions) -> np.ndarray:
    """A picture (3, H, W) in 0..255 as (H, W, 3), zero where it is like the background, in units of the deviation."""
    fill, std = (np.array(value, dtype=np.float32) for value in (rule.fill, rule.std))
    return np.ascontiguousarray((image.transpose(1, 2, 0) - fill) * (np.float32(1) / std))


def background(rule: Regions) -> np.ndarray:
    """Normalised colour of what a mask leaves out, (3,)."""
    fill, mean, std = (np.array(value, dtype=np.float32) for value in (rule.fill, rule.mean, rule.std))
    return (fill - mean) * (np.float32(1) / std)


def _box(inside: np.ndarray, ratio: float) -> tuple[int, int, int, int]:
    """Box of a mask that has a pixel, stretched about its centre and cut to the picture: x1, y1, x2, y2."""
    found = []
    for axis in (0, 1):
        places = np.flatnonzero(inside.any(axis=axis))
        low, high = int(places[0]), int(places[-1]) + 1
        if ratio != 1.0:
            centre, half = (low + high) / 2, (high - low) * ratio / 2
            low, high = int(centre - half), int(centre + half)
        limit = inside.shape[1 - axis]
        low = min(max(low, 0), limit - 1)
        found.append((low, max(min(high, limit), low + 1)))
    (left, right), (top, bottom) = found
    return left, top, right, bottom


def _axis(side: int, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four pixels for each place of a result, their weights, and the nearest pixel: (S, 4), (S, 4), (S,)."""
    scale = np.float32(side) / np.float32(length)
    place = np.arange(length, dtype=np.float32)
    position = (np.float64(scale) * (place + np.float32(0.5)) - 0.5).astype(np.float32)
    start = np.floor(position)
    t = (position - start)[:, None]
    x = np.concatenate([t + 1, t, 1 - t, 2 - t], axis=1)
    near = ((_CUBIC + 2) * x - (_CUBIC + 3)) * x * x + 1
    far = ((_CUBIC * x - 5 * _CUBIC) * x + 8 * _CUBIC) * x - 4 * _CUBIC
    weights = np.concatenate([far[:, :1], near[:, 1:3], far[:, 3:]], axis=1).astype(np.float32)
    taps = start.astype(np.int64)[:, None] + np.arange(-1, 3)
    return taps.clip(0, side - 1), weights, np.minimum((place * scale).astype(np.int64), side - 1)
