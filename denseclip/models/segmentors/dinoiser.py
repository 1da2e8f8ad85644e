"""CLIP-DINOiser: teaching CLIP a few DINO tricks (Wysoczańska et al., ECCV 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from denseclip.clip.towers import DenseReadOut, TowerOutput
from denseclip.clip.towers.vit import to_map
from denseclip.models.builder import build_module
from denseclip.models.functional.dinoiser_losses import correlation_loss, foreground_loss
from denseclip.models.heads.dinoiser import DINOiserHead
from denseclip.models.unsaved import leave_out_of_checkpoints

from .correlation_pooling import CorrelationPoolingSegmentor, Guidance

FINAL = 'final'


@MODELS.register_module()
class CLIPDINOiser(CorrelationPoolingSegmentor):
    """MaskCLIP pooled along correlations that CLIP itself gives, after two convolutions have learned them from DINO.

    Trains on pictures alone: the convolutions repeat DINO's correlations and FOUND's foreground; no text and no label
    is used. In use one pass through CLIP gives features, correlations and foreground; the teachers may be left out.
    Checkpoints hold the convolutions only (the authors' ``last.pt`` is read as well), unless CLIP has no source to come
    from.

    Args:
        clip: See :class:`CorrelationPoolingSegmentor`.
        head: Config of the :class:`DINOiserHead` or the head; ``in_channels`` follows from CLIP.
        feature_layer: Which features the head reads: a block, whose normalised feed-forward input is taken (negative
            numbers count from the end; the authors' -3), or ``'final'`` for the dense features themselves.
        correlation_teacher: DINO, ``dict(type='DINOTeacher', ...)``; needed for training only.
        foreground_teacher: FOUND, ``dict(type='FOUNDTeacher', ...)``; needed for training only.
        kwargs: Further arguments of :class:`CorrelationPoolingSegmentor`.
    """

    head: DINOiserHead
    weights_named_by = ()  # the head is trained

    def __init__(
        self,
        clip: Mapping[str, Any] | Any,
        head: Mapping[str, Any] | nn.Module | None = None,
        feature_layer: int | str = -3,
        correlation_teacher: Mapping[str, Any] | nn.Module | None = None,
        foreground_teacher: Mapping[str, Any] | nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(feature_layer, str) and feature_layer != FINAL:
            raise ValueError(f"feature_layer='{feature_layer}' is unknown: give a number of a block, or '{FINAL}'.")
        self.feature_layer = feature_layer  # before the base class asks for the read-out
        super().__init__(clip, **kwargs)
        built: Any = head if isinstance(head, nn.Module) else self._build_head(head or {})
        self.head = built
        self.correlation_teacher = None if correlation_teacher is None else build_module(correlation_teacher)
        self.foreground_teacher = None if foreground_teacher is None else build_module(foreground_teacher)
        leave_out_of_checkpoints(self)

    def adapt_read_out(self, read_out: DenseReadOut) -> DenseReadOut:
        """The read-out with the layer that the head reads."""
        read_out = super().adapt_read_out(read_out)
        return replace(read_out, ffn_inputs=(self.feature_layer,)) if isinstance(self.feature_layer, int) else read_out

    def _build_head(self, config: Mapping[str, Any]) -> DINOiserHead:
        visual: Any = self.tower.visual
        channels = self.tower.embed_dim if self.feature_layer == FINAL else visual.conv1.out_channels
        return build_module({'type': 'DINOiserHead', 'in_channels': channels, **config})

    @property
    def not_saved_prefixes(self) -> tuple[str, ...]:
        """CLIP is left out of checkpoints while it comes from a source of its own."""
        return self.sourced_prefixes if self.parts.has_source and not self.brought_by_checkpoint else ()

    # --- inference ----------------------------------------------------------------------------------------------

    def head_input(self, out: TowerOutput) -> Tensor:
        """Features that the head reads, without gradient, (N, C, h, w)."""
        if self.feature_layer == FINAL:
            assert out.dense is not None
            return out.dense.detach()
        assert out.grid is not None
        return to_map(out.ffn_inputs[0][:, 1:], out.grid).detach()

    def _read_inside(self, images: Tensor) -> TowerOutput:
        """What the head reads of CLIP; the blocks after it and the dense embeddings play no part in the losses."""
        self.need_weights()
        tower: Any = self.tower  # a ViTTower: no other gives inputs of feed-forward branches
        return tower.inside(self.pad(images))

    def guidance(self, images: Tensor, out: TowerOutput) -> Guidance:
        """What the head says."""
        del images
        features = self.head_input(out)
        return Guidance(self.head.correlation(features), self.head.foreground(features).sigmoid())

    # --- training -----------------------------------------------------------------------------------------------

    def loss(self, inputs: Tensor, data_samples: list | None = None) -> dict[str, Tensor]:
        """Losses of both convolutions against the teachers.

        Args:
            inputs: Preprocessed pictures (N, 3, H, W).
            data_samples: Not used: no labels are needed.

        Raises:
            ValueError: If a teacher is missing.
        """
        del data_samples
        if self.correlation_teacher is None or self.foreground_teacher is None:
            raise ValueError(
                'CLIPDINOiser needs both teachers for training: correlation_teacher=dict(type="DINOTeacher", ...) and '
                'foreground_teacher=dict(type="FOUNDTeacher", ...).'
            )
        with torch.no_grad():
            out = self.read(inputs) if self.feature_layer == FINAL else self._read_inside(inputs)
        assert out.grid is not None
        features, pictures = self.head_input(out), self.pictures(inputs)
        correlation, foreground = self.head.correlation(features), self.head.foreground(features)
        gamma = self.gamma or 0.0
        return {
            'loss_correlation': correlation_loss(correlation, self.correlation_teacher(pictures, out.grid), gamma),
            'loss_foreground': foreground_loss(
                foreground, self.foreground_teacher(pictures, out.grid), self.foreground_threshold
            ),
        }
