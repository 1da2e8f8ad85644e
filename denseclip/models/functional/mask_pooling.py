"""Mean of the features under each mask (FC-CLIP, Yu et al., NeurIPS 2023, section 3.3), or by learnt maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.core.precision import full_precision

MASK_POOL_EPS = 1e-8


def mask_pool(features: Tensor, mask_logits: Tensor, eps: float = MASK_POOL_EPS) -> Tensor:
    """Mean of the features over the pixels whose mask logit is above zero; zeros for a mask without any.

    The masks choose pixels, so no gradient goes into them. Computed in float32 under autocast: the area of a mask
    leaves the range of float16.

    Args:
        features: Feature maps.
        mask_logits: One logit map per mask; resized bilinearly to the features' size if they have another one. Or bool
            maps of the features' size: the pixels of each mask.
        eps: Added to the number of pixels.

    Shape:
        - features: :math:`(N, C, h, w)`; mask_logits: :math:`(N, Q, h', w')`; result: :math:`(N, Q, C)`
    """
    masks = mask_logits.detach()
    with full_precision(features.device.type):
        features = features if features.dtype == torch.float64 else features.float()
        if masks.shape[-2:] != features.shape[-2:]:
            masks = F.interpolate(masks.to(features.dtype), size=features.shape[-2:], mode='bilinear')
        inside = (masks > 0).flatten(2).to(features.dtype)
        total = inside @ features.flatten(2).transpose(1, 2)
        return total / (inside.sum(dim=-1, keepdim=True) + eps)


def activation_pool(features: Tensor, maps: Tensor) -> Tensor:
    r"""Mean of the features weighted by learnt maps: :math:`\sum_p \sigma(a_p) f_p / \sum_p \sigma(a_p)`.

    Computed in float32 under autocast, as a softmax of log-sigmoids: maps that are small everywhere still have a mean.

    Source: Mask-Adapter (Li et al., CVPR 2025), section 3.2.

    Args:
        features: Feature maps.
        maps: Logits of the weights.

    Shape:
        - features: :math:`(N, C, h, w)`; maps: :math:`(N, A, h, w)`; result: :math:`(N, A, C)`
    """
    with full_precision(features.device.type):
        features = features if features.dtype == torch.float64 else features.float()
        weights = F.logsigmoid(maps.to(features.dtype)).flatten(2).softmax(dim=-1)
        return weights @ features.flatten(2).transpose(1, 2)
