"""Scores of a picture's windows, and how they lie on the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from denseclip.models.functional.label_map import Box, Size
from denseclip.models.functional.tiled_label_map import tiled_label_map


def size_of(images: Tensor) -> Size:
    """Height and width of a batch."""
    return images.shape[-2], images.shape[-1]


def resized(scores: Tensor, size: Size) -> Tensor:
    """(K, h, w) to (K, H, W), bilinearly."""
    if size_of(scores) == size:
        return scores
    return F.interpolate(scores[None], size=size, mode='bilinear', align_corners=False)[0]


@dataclass(frozen=True)
class Frame:
    """Where a picture lies in the network's input, and how large its result is.

    Attributes:
        size: Height and width of the padded input.
        valid: ``(top, bottom, left, right)`` of the picture in it.
        out_size: Height and width of the result.
        flip: Direction in which the picture was flipped, None if it was not.
    """

    size: Size
    valid: Box
    out_size: Size
    flip: str | None = None

    @classmethod
    def of(cls, meta: Mapping[str, Any], input_size: Size, padded_size: Size) -> Frame:
        """From a data sample's meta information and the sizes before and after padding to whole patches."""
        left, right, top, bottom = meta.get('img_padding_size', meta.get('padding_size', (0, 0, 0, 0)))
        valid = (top, input_size[0] - bottom, left, input_size[1] - right)
        height, width = meta.get('ori_shape', (valid[1] - valid[0], valid[3] - valid[2]))[:2]
        flip = meta.get('flip_direction', 'horizontal') if meta.get('flip') else None
        return cls(padded_size, valid, (int(height), int(width)), flip)

    def cut(self, scores: Tensor) -> Tensor:
        """Scores in the input's size to scores in the result's size, unflipped, (K, H, W)."""
        top, bottom, left, right = self.valid
        scores = resized(scores[:, top:bottom, left:right], self.out_size)
        if self.flip is None:
            return scores
        axes = {'horizontal': (2,), 'vertical': (1,), 'diagonal': (1, 2)}
        return scores.flip(axes[self.flip])


@dataclass
class ScoreMaps:
    """Scores at the resolution of the patches.

    Attributes:
        maps: One (K, h, w) tensor per window.
        boxes: Where the windows lie; None if there is one for the whole input.
    """

    maps: list[Tensor]
    boxes: Sequence[Box] | None

    def without(self, rows: Tensor) -> ScoreMaps:
        """The same with some rows, (K,) bool, below all others, so that they win nowhere."""
        low = min(float(scores.amin()) for scores in self.maps) - 1
        return ScoreMaps([scores.masked_fill(rows[:, None, None], low) for scores in self.maps], self.boxes)

    def label_map(self, frame: Frame) -> Tensor:
        """Labels in the result's size, K full-size planes are never made."""
        return tiled_label_map(self.maps, self.boxes, frame.size, frame.out_size, frame.valid)

    def full(self, frame: Frame) -> Tensor:
        """Scores of all classes in the input's size, windows averaged where they overlap."""
        if self.boxes is None:
            return resized(self.maps[0], frame.size)
        total = self.maps[0].new_zeros((self.maps[0].shape[0], *frame.size))
        count = total.new_zeros((1, *frame.size))
        for scores, (top, bottom, left, right) in zip(self.maps, self.boxes, strict=True):
            total[:, top:bottom, left:right] += resized(scores, (bottom - top, right - left))
            count[:, top:bottom, left:right] += 1
        return total / count
