"""Pixel-adaptive mask refinement: scores follow the colours of the picture, without parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_CLASSES_AT_ONCE = 16
_EIGHT = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0))


def neighbours(x: Tensor, dilation: int, offsets: Sequence[tuple[int, int]] = _EIGHT) -> Tensor:
    """Values around every pixel; the border is repeated outwards.

    Shape:
        - x: :math:`(N, C, H, W)`; result: :math:`(N, C, P, H, W)` for P offsets
    """
    height, width = x.shape[-2:]
    # Rows and columns are clamped by index, not padded, so that pictures smaller than the dilation work too.
    rows, columns = (torch.arange(n, device=x.device) for n in (height, width))
    planes = []
    for dy, dx in offsets:
        near = x[:, :, (rows + dy * dilation).clamp(0, height - 1)]
        planes.append(near[..., (columns + dx * dilation).clamp(0, width - 1)])
    return torch.stack(planes, dim=2)


def pamr_weights(image: Tensor, dilations: Sequence[int] = (8, 16)) -> Tensor:
    """How much every pixel listens to its neighbours: softmax of ``-|difference| / (0.1 std)``, mean over channels.

    Source: Araslanov and Roth, CVPR 2020, section 3.2, equations 4 and 5.

    Args:
        image: Picture in any linear scale (the standard deviation cancels it).
        dilations: Distances of the eight neighbours.

    Shape:
        - image: :math:`(N, C, H, W)`; result: :math:`(N, 8 D, H, W)`
    """
    around = torch.cat([neighbours(image, d) for d in dilations], dim=2)
    centre = image.unsqueeze(2)
    std = torch.cat([around, centre.expand(-1, -1, len(dilations), -1, -1)], dim=2).std(dim=2, keepdim=True)
    return (-(around - centre).abs() / (1e-8 + 0.1 * std)).mean(dim=1).softmax(dim=1)


def pamr(image: Tensor, scores: Tensor, iterations: int = 10, dilations: Sequence[int] = (8, 16)) -> Tensor:
    """Refine scores by letting every pixel take the mean of neighbours of its colour, again and again.

    Source: Araslanov and Roth, CVPR 2020, section 3.2; used by NACLIP (10 iterations, dilations 8 and 16) and TCL
    (1, 2, 4, 8, 12, 24).

    Args:
        image: Picture.
        scores: Scores, resized to the picture with aligned corners.
        iterations: How often.
        dilations: Distances of the neighbours.

    Shape:
        - image: :math:`(N, C, H, W)`; scores: :math:`(N, K, h, w)`; result: :math:`(N, K, H, W)`
    """
    return torch.cat(list(pamr_parts(image, scores, iterations, dilations)), dim=1)


def pamr_parts(
    image: Tensor,
    scores: Tensor,
    iterations: int = 10,
    dilations: Sequence[int] = (8, 16),
    align_corners: bool = True,
) -> Iterator[Tensor]:
    """What :func:`pamr` gives, some classes at a time: maps of all classes need not be there together.

    Args:
        image: See :func:`pamr`.
        scores: See there.
        iterations: See there.
        dilations: See there.
        align_corners: How scores are resized to the picture.
    """
    size = image.shape[-2:]
    weights = pamr_weights(image, dilations).unsqueeze(1)
    for part in scores.split(_CLASSES_AT_ONCE, dim=1):
        part = F.interpolate(part, size=size, mode='bilinear', align_corners=align_corners)
        for _ in range(iterations):
            new = torch.zeros_like(part)
            for index, dilation in enumerate(dilations):
                new += (neighbours(part, dilation) * weights[:, :, 8 * index : 8 * index + 8]).sum(dim=2)
            part = new
        yield part
