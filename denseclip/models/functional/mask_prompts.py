"""From masks to blank patches, and pictures of regions through an image tower with mask prompts."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from denseclip.clip.mask_prompts import MaskPrompts
from denseclip.clip.towers import ImageTower


def patch_coverage(masks: Tensor, patch: tuple[int, int]) -> Tensor:
    """Mean of a mask over each patch.

    Args:
        masks: Masks, bool or 0..1; what is left over at the right and bottom counts for no patch.
        patch: Height and width of a patch.

    Returns:
        Means, row by row.

    Shape:
        - masks: :math:`(N, H, W)`; result: :math:`(N, hw)`
    """
    planes = masks if masks.is_floating_point() else masks.float()
    return F.avg_pool2d(planes[:, None], patch).flatten(1)


def kept_patches(masks: Tensor, patch: tuple[int, int]) -> Tensor:
    """Patches in which a mask has anything at all; the others are blank.

    Args:
        masks: Masks, bool or 0..1. Of shares, any above zero counts.
        patch: Height and width of a patch.

    Shape:
        - masks: :math:`(N, H, W)`; result: :math:`(N, hw)`, bool
    """
    planes = masks if masks.is_floating_point() else masks.float()
    return F.max_pool2d(planes[:, None], patch).flatten(1) > 0


def encode_with_masks(tower: ImageTower, images: Tensor, masks: Tensor | None, embedding: Tensor | None) -> Tensor:
    """Image embeddings of region pictures; gradients reach pictures, prompts and tower.

    Args:
        tower: Image tower whose read-out has ``pooled=True``.
        images: Normalised region pictures.
        masks: The regions in them; None runs the tower without prompts.
        embedding: Mask prompts; None runs the tower without prompts.

    Returns:
        Embeddings in the joint space, not normalised.

    Shape:
        - images: :math:`(N, 3, H, W)`; masks: :math:`(N, H, W)`; embedding: :math:`(D, hw, C)` or :math:`(D, 1, C)`
        - result: :math:`(N, E)`
    """
    with_prompts: dict[str, Any] = {}
    if masks is not None and embedding is not None:
        with_prompts['prompts'] = MaskPrompts(kept_patches(masks, tower.multiple), embedding)
    pooled = tower(images, **with_prompts).pooled
    if pooled is None:
        raise ValueError('this tower gives no image embedding: build it with a read-out that has pooled=True.')
    return pooled
