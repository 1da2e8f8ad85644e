"""Regions from anything that finds masks: superpixels, Segment Anything, any detector or segmentor, or files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from denseclip.clip.preprocess import PreprocessSpec
from denseclip.core.placement import nearest, resize, size_of
from denseclip.models.builder import build_module
from denseclip.models.functional.pictures import denormalize_pictures
from denseclip.models.unsaved import leave_out_of_checkpoints

from .base import RegionProvider

ORDERS = ('small', 'large', 'sure')


@MODELS.register_module()
class ProposedRegions(RegionProvider):
    """Each mask is a region; pixels in no mask belong to none. Masks are found in the network's input, not the photo.

    Args:
        masks: A :class:`~denseclip.structures.MaskProposer` or its config (``type='SuperpixelMasks'`` ...).
        first: Which mask a pixel belongs to where masks overlap: the ``'small'`` or the ``'large'`` one (CorrCLIP with
            SAM 2), or the one that the proposer is most ``'sure'`` of (CorrCLIP with EntitySeg).
        least_score: Masks that the proposer is less sure of are left out, 0..1.
    """

    not_saved_prefixes = ('',)

    def __init__(
        self, masks: Mapping[str, Any] | nn.Module, first: str = 'small', least_score: float | None = None
    ) -> None:
        super().__init__()
        if first not in ORDERS:
            raise ValueError(f"first='{first}' is unknown; choose from {', '.join(ORDERS)}.")
        self.masks: Any = build_module(masks)
        self.first, self.least_score = first, least_score
        leave_out_of_checkpoints(self)

    @torch.no_grad()
    def forward(self, image: Tensor, spec: PreprocessSpec, size: tuple[int, int], meta: Mapping[str, Any]) -> Tensor:
        """See :meth:`RegionProvider.forward`."""
        # Masks are found and compared at the size of the input: those of a photo would take gigabytes.
        picture, own = denormalize_pictures(image[None], spec).clamp(0, 1) * 255, size_of(image)
        found = self.masks(picture, [{'img_path': meta.get('img_path'), 'img_shape': own, 'ori_shape': own}])
        masks, scores = found.mask_logits[0], found.scores
        scores = masks.new_ones(len(masks)) if scores is None else scores[0]
        if self.least_score is not None:
            kept = scores >= self.least_score
            masks, scores = masks[kept], scores[kept]
        if not len(masks):
            return torch.full(size, -1, dtype=torch.long, device=image.device)
        inside = resize(masks.float(), own) > 0
        area = inside.flatten(1).sum(dim=1)
        rank = {'small': -area, 'large': area, 'sure': scores}[self.first]
        inside = inside[rank.argsort(descending=True, stable=True)]  # argmax finds the first that holds
        return nearest(torch.where(inside.any(dim=0), inside.to(torch.uint8).argmax(dim=0), -1), size)
