"""From any mask proposer to masks of one picture at its own size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from denseclip.core.placement import resize, size_of
from denseclip.models.builder import build_module
from denseclip.structures.mask_proposals import MaskProposer


class PictureProposals:
    """Masks of a picture by a :class:`~denseclip.structures.mask_proposals.MaskProposer`.

    Args:
        proposer: The proposer, or its config.
        device: Where it runs.
    """

    def __init__(self, proposer: MaskProposer | Mapping[str, Any], device: torch.device | str = 'cpu') -> None:
        self.proposer: Any = build_module(proposer) if isinstance(proposer, Mapping) else proposer
        if isinstance(self.proposer, nn.Module):
            self.proposer.to(device).eval()

    @torch.inference_mode()
    def __call__(self, image: Tensor, info: Mapping[str, Any]) -> Tensor:
        """Shares of the pixels, 0..1.

        Args:
            image: RGB in 0..255.
            info: Holds ``img_path``.

        Shape:
            - image: :math:`(3, H, W)`; result: :math:`(Q, H, W)`
        """
        size = size_of(image)
        meta = {**info, 'img_shape': size, 'ori_shape': size, 'pad_shape': size}
        return resize(self.proposer(image[None], [meta]).mask_logits.float().sigmoid(), size)[0]
