"""Affinity from the patches of DINO (ProxyCLIP), within regions where there are some (CorrCLIP)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from denseclip.clip.attention import Affinity
from denseclip.clip.head_affinity import HeadAffinity
from denseclip.clip.preprocess import PreprocessSpec
from denseclip.core.placement import pad_to_multiple, size_of, whole_multiples
from denseclip.models.builder import build_module
from denseclip.models.functional.affinity import similarity_logits
from denseclip.models.functional.pictures import denormalize_pictures, normalize_pictures
from denseclip.models.functional.region_scope import RegionMaps, RegionScope
from denseclip.models.unsaved import leave_out_of_checkpoints

from .base import AffinityProvider

FEATURES = ('tokens', 'query', 'key', 'value', 'query+key')


@MODELS.register_module()
class DINOAffinity(AffinityProvider):
    """Attention logits from the cosines of a self-supervised network's patch tokens.

    Its grid is the other network's own, which is finer than CLIP's for patches of 8. Its weights stay out of
    checkpoints.

    Args:
        dino: A ``DINOTower`` or its settings (``model_name``, ``pretrained`` ...); the paper takes DINO ViT-B/8.
        beta: Cosines below ``beta`` times their mean are not looked at; None: all are.
        gamma: Sharpness.
        feature: What is compared: ``'tokens'`` after the final norm (ProxyCLIP), ``'query'``, ``'key'``, ``'value'``
            (LPOSS) or ``'query+key'`` (CorrCLIP) of the last attention.
        scope: How regions of the picture narrow it, settings of :class:`RegionScope` (``{}`` for CorrCLIP's); None:
            they do not.
    """

    not_saved_prefixes = ('',)

    def __init__(
        self,
        dino: Mapping[str, Any] | nn.Module | None = None,
        beta: float | None = 1.2,
        gamma: float = 3.0,
        feature: str = 'tokens',
        scope: Mapping[str, Any] | RegionScope | None = None,
    ) -> None:
        super().__init__()
        if feature not in FEATURES:
            raise ValueError(f"feature='{feature}' is unknown; choose from {', '.join(FEATURES)}.")
        if dino is None or isinstance(dino, Mapping):
            dino = {'type': 'DINOTower', 'model_name': 'vit_base_patch8_224', **(dino or {})}
        self.dino: Any = build_module(dino)
        self.beta, self.gamma, self.feature, self.scope = beta, gamma, feature, RegionScope.given(scope)
        leave_out_of_checkpoints(self)

    @property
    def takes_regions(self) -> bool:
        """See :class:`AffinityProvider`."""
        return self.scope is not None

    def forward(
        self, images: Tensor, spec: PreprocessSpec, regions: RegionMaps | None = None
    ) -> Affinity | HeadAffinity:
        """See :meth:`AffinityProvider.forward`."""
        found = self.features(images, spec)
        logits, grid = similarity_logits(found, self.beta, self.gamma), size_of(found)
        if self.scope is None or regions is None:
            return Affinity(logits, grid)
        seen = whole_multiples(size_of(images), self.dino.patch_size)
        logits, planes = self.scope(logits, found, regions.planes(seen, grid))
        return Affinity(logits, grid, planes)

    @torch.no_grad()
    def features(self, images: Tensor, spec: PreprocessSpec) -> Tensor:
        """See :meth:`AffinityProvider.features`."""
        pictures = pad_to_multiple(denormalize_pictures(images, spec), self.dino.patch_size)
        found = self.dino(normalize_pictures(pictures, self.dino.preprocess), tokens=self.feature == 'tokens')
        parts: list[Tensor] = [getattr(found, name) for name in self.feature.split('+')]
        return torch.stack(parts).sum(dim=0) if len(parts) > 1 else parts[0]


@MODELS.register_module()
class SpectralAffinity(DINOAffinity):
    """Attention head by head, of CLIP's own keys completed by those of a self-supervised network (CASS).

    Args:
        dino: See :class:`DINOAffinity`.
        feature: What is compared, likewise; the keys of the last attention in the paper.
        **settings: ``rank``, ``spectrum``, ``strength``, ``gaussian``, ``stretch`` and ``pairing`` of
            :class:`denseclip.clip.head_affinity.HeadAffinity`.
    """

    def __init__(
        self, dino: Mapping[str, Any] | nn.Module | None = None, feature: str = 'key', **settings: Any
    ) -> None:
        super().__init__(dino, feature=feature)
        HeadAffinity(torch.zeros(1), **settings)  # refused now, not with the first picture
        self.settings = settings

    def forward(self, images: Tensor, spec: PreprocessSpec, regions: RegionMaps | None = None) -> HeadAffinity:
        """See :meth:`AffinityProvider.forward`."""
        del regions
        return HeadAffinity(self.features(images, spec), **self.settings)
