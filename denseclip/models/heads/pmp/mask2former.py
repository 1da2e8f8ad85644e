"""MMSegmentation's Mask2Former head with a guide for its queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.registry import MODELS
from mmseg.models.decode_heads import Mask2FormerHead
from torch import Tensor

from ..query_guide import QueryGuide


@MODELS.register_module()
class GuidedMask2FormerHead(Mask2FormerHead):
    """MMSeg's ``Mask2FormerHead`` whose decoder calls a guide in every layer.

    Same arguments, same state dict, and without a guide the same numbers to the bit. That is why it exists beside
    :class:`OpenVocabMask2FormerHead`, the same function with its sums in another order: with MMSeg's weights, at the
    published width and of random values, mask logits differ by up to 6e-6 (of 4). Losses differ by up to 2 %, because
    the random points of matching and masks are drawn last layer first, as by the authors. Published numbers of MMSeg's
    checkpoints, and trainings that go on from them, belong to this head.

    Attributes:
        num_layers: Layers of the decoder.
        query_dim: Width of the queries.
    """

    @property
    def num_layers(self) -> int:
        """Layers of the decoder."""
        return self.num_transformer_decoder_layers

    @property
    def query_dim(self) -> int:
        """Width of the queries."""
        return self.query_feat.weight.shape[1]

    def pixel_features(self, levels: Sequence[Tensor]) -> tuple[Tensor, list[tuple[Tensor, Tensor]], list[Any]]:
        """All that the decoder layers need of the picture, and that no query changes.

        Args:
            levels: Feature maps of the backbone, finest first.

        Returns:
            Mask features (N, d, h, w); per level memory and position, (N, h_i·w_i, d) each; sizes of the levels.
        """
        mask_features, maps = self.pixel_decoder(levels)
        memories = []
        for i, level in enumerate(maps[: self.num_transformer_feat_level]):
            memory = self.decoder_input_projs[i](level).flatten(2).transpose(1, 2)
            memory = memory + self.level_embed.weight[i].view(1, 1, -1)
            mask = level.new_zeros((level.shape[0], *level.shape[-2:]), dtype=torch.bool)
            memories.append((memory, self.decoder_positional_encoding(mask).flatten(2).transpose(1, 2)))
        return mask_features, memories, [level.shape[-2:] for level in maps]

    def decode(
        self, pixel: tuple[Tensor, list[tuple[Tensor, Tensor]], list[Any]], guide: QueryGuide | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Queries through all layers.

        Args:
            pixel: What :meth:`pixel_features` gave.
            guide: Called in every layer; None leaves MMSeg's head.

        Returns:
            Class logits (N, Q, K + 1) and mask logits (N, Q, h, w), before all layers and after each.
        """
        mask_features, memories, sizes = pixel
        batch = mask_features.shape[0]
        queries = self.query_feat.weight.expand(batch, -1, -1)
        query_pos = self.query_embed.weight.expand(batch, -1, -1)
        outputs = [self._forward_head(queries, mask_features, sizes[0])]
        for i in range(self.num_layers):
            blocked = outputs[-1][2]
            blocked = blocked & ~blocked.all(dim=-1, keepdim=True)  # a query that may look nowhere looks everywhere
            memory = memories[i % len(memories)]
            queries = self._layer(i, queries, query_pos, memory, blocked, guide)
            outputs.append(self._forward_head(queries, mask_features, sizes[(i + 1) % len(memories)]))
        return [out[0] for out in outputs], [out[1] for out in outputs]

    def _layer(
        self,
        index: int,
        queries: Tensor,
        query_pos: Tensor,
        memory: tuple[Tensor, Tensor],
        blocked: Tensor,
        guide: QueryGuide | None,
    ) -> Tensor:
        """MMDet's ``Mask2FormerTransformerDecoderLayer``, step by step, so that a guide can come in between."""
        layer = self.transformer_decoder.layers[index]
        (key, key_pos), norms = memory, layer.norms
        if guide is not None:
            queries = guide(index, 'before_image', queries, query_pos)
        queries = norms[0](
            layer.cross_attn(query=queries, key=key, value=key, query_pos=query_pos, key_pos=key_pos, attn_mask=blocked)
        )
        if guide is not None:
            queries = guide(index, 'after_image', queries, query_pos)
        queries = norms[1](
            layer.self_attn(query=queries, key=queries, value=queries, query_pos=query_pos, key_pos=query_pos)
        )
        if guide is not None:
            queries = guide(index, 'after_self', queries, query_pos)
        return norms[2](layer.ffn(queries))

    def forward(
        self, x: Sequence[Tensor], batch_data_samples: Any = None, guide: QueryGuide | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """See MMDet's ``Mask2FormerHead.forward``."""
        return self.decode(self.pixel_features(x), guide)

    def guided_loss(self, x: Sequence[Tensor], samples: Sequence[Any], guide: QueryGuide | None) -> dict[str, Tensor]:
        """Losses of all outputs, as MMSeg's ``Mask2FormerHead.loss``.

        Args:
            x: Feature maps of the backbone.
            samples: Data samples with ``gt_sem_seg``.
            guide: Guide of the batch.
        """
        instances, metas = self._seg_data_to_instance_data(samples)
        return self.loss_by_feat(*self(x, samples, guide), instances, metas)
