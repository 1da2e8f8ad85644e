"""Affinity from the patch tokens of DINO (ProxyCLIP)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from denseclip.clip.attention import Affinity
from denseclip.clip.preprocess import PreprocessSpec
from denseclip.core.placement import pad_to_multiple
from denseclip.models.builder import build_module
from denseclip.models.functional.affinity import similarity_logits
from denseclip.models.functional.pictures import denormalize_pictures, normalize_pictures
from denseclip.models.unsaved import leave_out_of_checkpoints

from .base import AffinityProvider


@MODELS.register_module()
class DINOAffinity(AffinityProvider):
    """Attention logits from the cosines of a self-supervised network's patch tokens.

    Its grid is the other network's own, which is finer than CLIP's for patches of 8. Its weights stay out of
    checkpoints.

    Args:
        dino: A ``DINOTower`` or its settings (``model_name``, ``pretrained`` ...); the paper takes DINO ViT-B/8.
        beta: Cosines below ``beta`` times their mean are not looked at.
        gamma: Sharpness.
    """

    not_saved_prefixes = ('',)

    def __init__(
        self, dino: Mapping[str, Any] | nn.Module | None = None, beta: float = 1.2, gamma: float = 3.0
    ) -> None:
        super().__init__()
        if dino is None or isinstance(dino, Mapping):
            dino = {'type': 'DINOTower', 'model_name': 'vit_base_patch8_224', **(dino or {})}
        self.dino: Any = build_module(dino)
        self.beta, self.gamma = beta, gamma
        leave_out_of_checkpoints(self)

    @torch.no_grad()
    def forward(self, images: Tensor, spec: PreprocessSpec) -> Affinity:
        """See :meth:`AffinityProvider.forward`."""
        pictures = pad_to_multiple(denormalize_pictures(images, spec), self.dino.patch_size)
        tokens = self.dino(normalize_pictures(pictures, self.dino.preprocess), tokens=True).tokens
        return Affinity(similarity_logits(tokens, self.beta, self.gamma), (tokens.shape[2], tokens.shape[3]))
