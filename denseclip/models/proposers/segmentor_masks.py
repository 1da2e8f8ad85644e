"""Masks from the first stage of another segmentor, such as OVSeg's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from denseclip.core.placement import resize, size_of, whole_multiples
from denseclip.models.builder import build_module
from denseclip.models.segmentors.two_stage import TwoStageSegmentor
from denseclip.models.unsaved import leave_out_of_checkpoints
from denseclip.structures.mask_proposals import MaskProposals
from denseclip.weights import load_into, read_state_dict, resolve, weight_file

from .base import model_of_file


@MODELS.register_module()
class SegmentorMasks(nn.Module):
    """Takes the masks that a segmentor proposes, with their class embeddings and scores, if it gives any.

    Args:
        segmentor: An ``OVSeg`` or another ``TwoStageSegmentor``, its config, or the config file of a training.
        weights: Weight source of it; None keeps what it has. Its text tower and its second stage play no part, so the
            file may hold them or not.
        keep_embeddings: Hand on the class embeddings; they are of use only in the joint space of the same CLIP.
    """

    not_saved_prefixes = ('',)

    def __init__(
        self,
        segmentor: Mapping[str, Any] | nn.Module | str | Path,
        weights: str | Path | None = None,
        keep_embeddings: bool = False,
    ) -> None:
        super().__init__()
        built = build_module(model_of_file(segmentor) if isinstance(segmentor, str | Path) else segmentor)
        self.segmentor: Any = built.eval().requires_grad_(False)
        if not isinstance(self.segmentor, TwoStageSegmentor):
            raise ValueError(f'{type(self.segmentor).__name__} has no first stage that proposes masks; take an OVSeg.')
        if weights is not None:
            file = weight_file(resolve(str(weights)))
            load_into(self.segmentor, read_state_dict(file), source=file, ignore=('text.', 'region_classifier.'))
        self.keep_embeddings = keep_embeddings
        leave_out_of_checkpoints(self)

    def train(self, mode: bool = True) -> SegmentorMasks:
        """Set the mode; the segmentor stays in evaluation mode."""
        super().train(mode)
        self.segmentor.eval()
        return self

    @torch.no_grad()
    def forward(self, images: Tensor, metas: Sequence[Mapping[str, Any]]) -> MaskProposals:
        """See :class:`~denseclip.structures.MaskProposer`; the segmentor's own padding is cut off."""
        prepare = self.segmentor.data_preprocessor
        inputs = (images - prepare.mean.to(images)) / prepare.std.to(images) if prepare._enable_normalize else images
        found = self.segmentor.propose(inputs, [SegDataSample(metainfo=dict(meta)) for meta in metas])
        padded, masks = whole_multiples(size_of(images), self.segmentor.size_divisor), found.mask_logits
        if padded != size_of(images):
            masks = resize(masks, padded)[:, :, : images.shape[2], : images.shape[3]]
        return MaskProposals(masks, found.class_embeddings if self.keep_embeddings else None, found.scores)
