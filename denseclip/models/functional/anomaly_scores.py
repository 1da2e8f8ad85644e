"""Scores of zero-shot anomaly localization as pure tensor functions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.core.tiles import tile_boxes


def state_cosines(features: Tensor, states: Tensor) -> Tensor:
    """Cosine of features with the normal and the abnormal state.

    Args:
        features: Image or patch embeddings, not normalised.
        states: Unit vectors, normal first.

    Shape:
        - features: :math:`(*, E)`; states: :math:`(2, E)`; result: :math:`(*, 2)`
    """
    return F.normalize(features, dim=-1) @ states.transpose(0, 1)


def abnormal_probability(features: Tensor, states: Tensor, temperature: float = 1.0) -> Tensor:
    """Softmax of the two cosines, the abnormal one's share.

    Args:
        features: Embeddings, not normalised.
        states: Unit vectors, normal first.
        temperature: Divides the cosines: 1 in AnoVL (values near 0.5, only their order counts), 0.07 in WinCLIP.

    Returns:
        Values 0..1.

    Shape:
        - features: :math:`(*, E)`; states: :math:`(2, E)`; result: :math:`(*)`
    """
    return (state_cosines(features, states) / temperature).softmax(dim=-1)[..., 1]


def smooth(scores: Tensor) -> Tensor:
    """3 x 3 mean over the patch grid, borders repeated (AnoVL's evaluation scripts).

    Shape:
        - scores and result: :math:`(N, C, h, w)`
    """
    return F.avg_pool2d(F.pad(scores, (1, 1, 1, 1), mode='replicate'), kernel_size=3, stride=1)


def upsample(scores: Tensor, size: tuple[int, int], align_corners: bool = True) -> Tensor:
    """Bilinear interpolation; the corner patches' centres lie on the corners, as AnoVL and APRIL-GAN have it.

    Shape:
        - scores: :math:`(N, C, h, w)`; result: :math:`(N, C, H, W)`
    """
    return F.interpolate(scores, size=size, mode='bilinear', align_corners=align_corners)


def cut_tiles(image: Tensor, side: int) -> Tensor:
    """Square tiles of one picture; a picture smaller than a tile in one direction gives tiles of its own size there.

    Shape:
        - image: :math:`(1, C, H, W)`; result: :math:`(T, C, min(H, side), min(W, side))`
    """
    boxes = tile_boxes((image.shape[-2], image.shape[-1]), side)
    return torch.cat([image[..., top : top + side, left : left + side] for top, left in boxes])


def stitch_tiles(maps: Tensor, size: tuple[int, int], side: int) -> Tensor:
    """Maps of tiles to one map of the picture, the mean where tiles overlap.

    Args:
        maps: In the order of :func:`tile_boxes`.
        size: Height and width of the picture.
        side: Side of a tile.

    Shape:
        - maps: :math:`(T, C, side, side)`; result: :math:`(1, C, H, W)`
    """
    total = maps.new_zeros(1, maps.shape[1], *size)
    count = maps.new_zeros(1, 1, *size)
    for tile, (top, left) in zip(maps, tile_boxes(size, side), strict=True):
        window = (..., slice(top, top + side), slice(left, left + side))
        total[window] = total[window] + tile
        count[window] = count[window] + 1
    return total / count


def adaptation_loss(clean: Tensor, noisy: Tensor, entropy_weight: float = 1.0, contrast_weight: float = 0.5) -> Tensor:
    """Loss of test-time adaptation: be sure of every place, call the clean ones normal and the noisy ones abnormal.

    ``mean(-sum_c p log p) + 0.5 mean(-log q_abnormal - log p_normal)``, with p, q the softmax over the two states; the
    gradient flows through all factors.

    Source: AnoVL, section 3.4 (as its scripts compute it).

    Args:
        clean: Cosines of clean patches with the two states.
        noisy: Cosines of patches with noise added.
        entropy_weight: Of the first term.
        contrast_weight: Of the second term.

    Shape:
        - clean, noisy: :math:`(*, 2)`; result: a scalar
    """
    return probability_adaptation_loss(clean.softmax(dim=-1), noisy.softmax(dim=-1), entropy_weight, contrast_weight)


def probability_adaptation_loss(
    clean: Tensor, noisy: Tensor, entropy_weight: float = 1.0, contrast_weight: float = 0.5
) -> Tensor:
    """:func:`adaptation_loss` of probabilities, normal first in the last dimension.

    Shape:
        - clean, noisy: :math:`(*, 2)`; result: a scalar
    """
    entropy = -(clean * clean.log()).sum(dim=-1).mean()
    contrast = (-noisy[..., 1].log() - clean[..., 0].log()).mean()
    return entropy_weight * entropy + contrast_weight * contrast
