"""CLIP-DINOiser's two convolutions: which places belong together, and where the objects are, both from CLIP alone."""

from __future__ import annotations

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from denseclip.models.functional.pooling import correlations


@MODELS.register_module()
class DINOiserHead(BaseModule):
    """Two convolutions on a CLIP layer, trained to repeat DINO and FOUND.

    Source: CLIP-DINOiser (Wysoczańska et al., ECCV 2024), sections 3.2 and 3.3. Names of the parameters are the
    authors'.

    Args:
        in_channels: Channels of the CLIP layer.
        embed_dim: Channels whose cosines are the correlations.
        kernel_size: Side of the correlation convolution, odd.

    Raises:
        ValueError: If ``kernel_size`` is even.
    """

    def __init__(self, in_channels: int = 768, embed_dim: int = 256, kernel_size: int = 3) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f'kernel_size={kernel_size} would shift the map by half a patch; use an odd one.')
        self.obj_proj = nn.Conv2d(
            in_channels, embed_dim, kernel_size, padding=kernel_size // 2, padding_mode='replicate'
        )
        self.bkg_decoder = nn.Conv2d(in_channels, 1, kernel_size=1)

    def correlation(self, features: Tensor) -> Tensor:
        """Cosines between all pairs of places.

        Shape:
            - features: :math:`(N, C, h, w)`, as the layer gives them; result: :math:`(N, hw, h, w)`
        """
        return correlations(self.obj_proj(features))

    def foreground(self, features: Tensor) -> Tensor:
        """Foreground logits, positive on objects.

        Shape:
            - features: :math:`(N, C, h, w)`, as the layer gives them; result: :math:`(N, 1, h, w)`
        """
        return self.bkg_decoder(F.normalize(features, dim=1))
