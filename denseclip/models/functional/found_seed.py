"""FOUND's background seed: objects without labels and without training, from the last layer of a DINO.

Source: FOUND (Siméoni et al., "Unsupervised Object Localization: Observing the Background to Discover Objects",
CVPR 2023), section 3.1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_TINY = 1e-10


def head_weights(attention: Tensor) -> Tensor:
    """Weight of each attention head: large where few places are attended to.

    ``beta_h = log(sum_h Q_h / Q_h)`` with ``Q_h`` the share of places that get more than the mean attention of the
    picture.

    Shape:
        - attention: :math:`(N, H, L)`; result: :math:`(N, H)`
    """
    mean = attention.mean(dim=(1, 2), keepdim=True)
    share = (attention > mean).to(attention.dtype).mean(dim=2) + _TINY
    return torch.log(share.sum(dim=1, keepdim=True) / share)


def background_seed(keys: Tensor, attention: Tensor, heads: int, threshold: float = 0.3) -> Tensor:
    """Places that look like the place that the class token attends to least.

    Args:
        keys: Keys of the last layer, heads one after another.
        attention: Attention of the class token to the places, per head.
        heads: Number of heads H.
        threshold: Cosine above which a place is background, in [-1, 1].

    Returns:
        True on the background.

    Shape:
        - keys: :math:`(N, C, h, w)`
        - attention: :math:`(N, H, hw)`
        - result: :math:`(N, 1, h, w)`, bool
    """
    grid = keys.shape[-2:]
    weights = head_weights(attention)
    per_head = keys.flatten(2).unflatten(1, (heads, -1)) * weights[:, :, None, None]
    features = F.normalize(per_head.flatten(1, 2), dim=1)
    seed = (attention * weights.unsqueeze(2)).sum(dim=1).argmin(dim=1)
    reference = features.gather(2, seed.view(-1, 1, 1).expand(-1, features.shape[1], 1))
    return ((features * reference).sum(dim=1, keepdim=True) > threshold).unflatten(2, grid)
