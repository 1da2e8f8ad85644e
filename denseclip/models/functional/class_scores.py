"""How likely a class is somewhere in a picture, from scores of places and of the whole."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_REACH = 5
"""Patches along each side that a class has to fill for its full score."""
_CROP = 0.375
"""Side of a crop, in shorter sides of the picture."""


def standard_scores(scores: Tensor) -> Tensor:
    """Scores in standard deviations over the classes; zeros where all are alike.

    Shape:
        - scores and result: :math:`(K,)`
    """
    scores = scores.float()
    spread = scores.std(correction=0)
    return (scores - scores.mean()) / spread.clamp_min(1e-12)


def mixed_scores(picture: Tensor, dense: Tensor) -> Tensor:
    """Both in standard deviations over the classes, the picture counting twice as much.

    Shape:
        - picture, dense and result: :math:`(K,)`
    """
    return standard_scores(picture) + 0.5 * standard_scores(dense)


def place_scores(scores: Tensor, inside: Tensor) -> Tensor:
    """The best mean over a square of five patches, cut at the borders, of each class.

    Args:
        scores: Of the patches, larger where a class is likelier.
        inside: Patches that count.

    Shape:
        - scores: :math:`(K, h, w)`; inside: :math:`(h, w)` bool; result: :math:`(K,)`
    """
    weight = inside.to(scores.dtype)

    def blurred(planes: Tensor) -> Tensor:
        return F.avg_pool2d(planes[None], _REACH, stride=1, padding=_REACH // 2)[0]

    means = blurred(scores * weight) / blurred(weight[None]).clamp_min(torch.finfo(scores.dtype).tiny)
    return means.masked_fill(~inside, -torch.inf).flatten(1).amax(dim=1)


def grid_crops(image: Tensor, side: int) -> Tensor:
    """Squares that cover a picture, 3/8 of its shorter side across, resized.

    Args:
        image: The picture.
        side: Pixels of the result's sides.

    Shape:
        - image: :math:`(3, H, W)`; result: :math:`(n, 3, side, side)`
    """
    across = max(1, round(_CROP * min(image.shape[-2:])))
    rows, columns = (_starts(length, across) for length in image.shape[-2:])
    crops = [image[:, top : top + across, left : left + across] for top in rows for left in columns]
    return resized_crops(crops, side)


def resized_crops(crops: Sequence[Tensor], side: int) -> Tensor:
    """Crops (3, h, w) of any sizes as one batch (n, 3, side, side), bilinearly as in FreeCP's code."""
    return torch.cat([F.interpolate(crop[None], (side, side), mode='bilinear') for crop in crops])


def _starts(length: int, across: int) -> list[int]:
    """Where squares begin so that they cover a side evenly."""
    count = -(-length // across)
    return [0] if count == 1 else [round(i * (length - across) / (count - 1)) for i in range(count)]
