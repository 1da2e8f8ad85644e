"""Mask generator whose queries carry a class embedding instead of class scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from denseclip.models.functional.text_logits import text_logits

from ..mask_head import LayerPrediction, MaskPredictions, PixelFeatures
from ..query_guide import QueryGuide
from .criterion import MaskFormerCriterion
from .pixel_decoder import EncoderPixelDecoder, PyramidPixelDecoder
from .predictor import QueryPredictor

MEMORIES = ('encoder', 'mask_features')


@MODELS.register_module()
class OpenVocabMaskFormerHead(BaseModule):
    """MaskFormer's head for any vocabulary: class embeddings are compared with rows of text.

    Source: OVSeg (Liang et al., CVPR 2023), section 3.1. The head never sees class names: text rows come with each
    call, the row of "no object" last.

    Args:
        in_channels: Channels of the backbone's maps, finest first.
        embed_dim: Width of the text rows.
        feat_channels: Channels inside of the pixel decoder.
        mask_dim: Channels of the mask features.
        dim: Width of the queries.
        num_queries: Masks per picture.
        num_heads: Attention heads.
        ffn_dim: Width inside of feed-forward networks.
        encoder_layers: Encoder layers over the memory, before the decoder.
        decoder_layers: Decoder layers.
        pixel_encoder_layers: Encoder layers inside of the pixel decoder.
        memory: What the queries look at: the index of one of the backbone's maps, ``'encoder'`` (output of the pixel
            decoder's encoder) or ``'mask_features'``. None: the encoder's output if there is one, else the last map.
        dropout: Dropout of all transformer layers.
        pre_norm: Normalise before the parts of transformer layers.
        embed_hidden_dim: Width inside of the class embedding's network.
        embed_layers: Its linear layers.
        project_input: Project the memory even where it has the right width.
        logit_scale: Factor of the cosines, fixed, at most 100.
        criterion: Losses, or their settings.
        init_cfg: MMEngine initialisation config.
    """

    log_scale: Tensor

    def __init__(
        self,
        in_channels: Sequence[int],
        embed_dim: int,
        feat_channels: int = 256,
        mask_dim: int = 256,
        dim: int = 256,
        num_queries: int = 100,
        num_heads: int = 8,
        ffn_dim: int = 2048,
        encoder_layers: int = 0,
        decoder_layers: int = 6,
        pixel_encoder_layers: int = 0,
        memory: int | str | None = None,
        dropout: float = 0.1,
        pre_norm: bool = False,
        embed_hidden_dim: int = 1024,
        embed_layers: int = 2,
        project_input: bool = False,
        logit_scale: float = 100.0,
        criterion: MaskFormerCriterion | Mapping[str, Any] | None = None,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if pixel_encoder_layers:
            self.pixel_decoder: PyramidPixelDecoder = EncoderPixelDecoder(
                in_channels, feat_channels, mask_dim, pixel_encoder_layers, num_heads, ffn_dim, dropout, pre_norm
            )
        else:
            self.pixel_decoder = PyramidPixelDecoder(in_channels, feat_channels, mask_dim)
        self.memory = self._checked_memory(memory, len(in_channels), pixel_encoder_layers)
        widths = {'encoder': feat_channels, 'mask_features': mask_dim}
        self.predictor = QueryPredictor(
            in_channels[self.memory] if isinstance(self.memory, int) else widths[self.memory],
            embed_dim,
            mask_dim,
            dim,
            num_queries,
            num_heads,
            ffn_dim,
            encoder_layers,
            decoder_layers,
            dropout,
            pre_norm,
            embed_hidden_dim,
            embed_layers,
            project_input,
        )
        self.register_buffer('log_scale', torch.tensor(math.log(logit_scale)), persistent=False)
        if not isinstance(criterion, MaskFormerCriterion):
            criterion = MaskFormerCriterion(**(criterion or {}))
        self.criterion: MaskFormerCriterion = criterion

    @staticmethod
    def _checked_memory(memory: int | str | None, levels: int, encoder_layers: int) -> int | str:
        if memory is None:
            return 'encoder' if encoder_layers else levels - 1
        if isinstance(memory, int):
            if not -levels <= memory < levels:
                raise ValueError(f'memory={memory}: there are {levels} maps.')
        elif memory not in MEMORIES or (memory == 'encoder' and not encoder_layers):
            raise ValueError(
                f"memory='{memory}' is unknown or not there: give the index of a map, 'encoder' (with "
                "pixel_encoder_layers) or 'mask_features'."
            )
        return memory

    @property
    def query_dim(self) -> int:
        """Width of the queries."""
        return self.predictor.query_embed.weight.shape[1]

    @property
    def num_layers(self) -> int:
        """Layers of the decoder."""
        return len(self.predictor.decoder_layers)

    @property
    def num_heads(self) -> int:
        """Attention heads of the decoder."""
        return self.predictor.decoder_layers[0].self_attn.num_heads  # type: ignore[union-attr, return-value]

    @property
    def logit_scale(self) -> Tensor:
        """See :class:`~denseclip.models.heads.mask_head.MaskHead`; it is fixed here."""
        return self.log_scale

    def pixel_features(self, stages: Sequence[Tensor]) -> PixelFeatures:
        """Mask features and memory; neither text nor queries take part.

        Args:
            stages: Maps of the backbone, finest first.
        """
        pixels = self.pixel_decoder(stages)
        if isinstance(self.memory, int):
            return replace(pixels, memories=(stages[self.memory],))
        return pixels if self.memory == 'encoder' else replace(pixels, memories=(pixels.mask_features,))

    def decode(
        self,
        pixels: PixelFeatures,
        text_rows: Tensor,
        synonyms_per_class: Tensor,
        guide: QueryGuide | None = None,
        *,
        all_layers: bool | None = None,
    ) -> MaskPredictions:
        """Masks with class logits.

        Args:
            pixels: See :meth:`pixel_features`.
            text_rows: One unit row per name, those of a class next to each other, and that of "no object" last.
            synonyms_per_class: Number of names of each class.
            guide: Steers the queries.
            all_layers: Predictions of all layers; by default in training only.

        Shape:
            - text_rows: :math:`(R + 1, D)`; synonyms_per_class: :math:`(K)`
        """
        every = self.training if all_layers is None else all_layers
        outputs = self.predictor(pixels, guide, all_layers=every)
        logits = text_logits(
            outputs.class_embeddings.flatten(0, 1), text_rows, synonyms_per_class, self.log_scale
        ).unflatten(0, outputs.states.shape[:2])
        layers = zip(outputs.mask_logits, logits, outputs.class_embeddings, strict=True)
        return MaskPredictions(tuple(LayerPrediction(*layer) for layer in layers), pixels)

    def forward(
        self,
        stages: Sequence[Tensor],
        text_rows: Tensor,
        synonyms_per_class: Tensor,
        guide: QueryGuide | None = None,
        *,
        all_layers: bool | None = None,
    ) -> MaskPredictions:
        """Both steps; arguments as of :meth:`pixel_features` and :meth:`decode`."""
        pixels = self.pixel_features(stages)
        return self.decode(pixels, text_rows, synonyms_per_class, guide, all_layers=all_layers)

    def loss(self, predictions: MaskPredictions, targets: Sequence[InstanceData]) -> dict[str, Tensor]:
        """Weighted losses; see :class:`MaskFormerCriterion`."""
        return self.criterion(predictions.layers, targets)
