"""Masked decoder of Mask2Former: queries that look at the picture through the masks they have so far."""

from __future__ import annotations

import torch.nn.functional as F
from mmdet.models.layers import MLP
from mmengine.model import caffe2_xavier_init
from torch import Tensor, nn

from ..mask_head import LayerPrediction, MaskPredictions, PixelFeatures, mask_product
from ..query_guide import QueryGuide
from .classifiers import QueryClassifier
from .layers import MaskedDecoderLayer
from .positions import sine_positions


def attention_mask(mask_logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels of a level that each query may look at: those inside of its mask, or all if there is none.

    Source: Mask2Former, equation 2.

    Shape:
        - mask_logits: :math:`(N, Q, h', w')`; result: :math:`(N, 1, Q, h w)`, bool, True = may look
    """
    inside = _resize(mask_logits.detach(), size).flatten(2).sigmoid() >= 0.5
    return (inside | ~inside.any(dim=-1, keepdim=True))[:, None]


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size=size, mode='bilinear', align_corners=False)


class MaskedQueryDecoder(nn.Module):
    """Learnt queries through masked decoder layers; each layer reads one level, coarsest first, in turn.

    Args:
        classifier: From a query to its class.
        in_channels: Width of the memories.
        dim: Width of the queries.
        mask_dim: Channels of the mask features.
        num_queries: Queries, that is, masks per picture.
        num_layers: Decoder layers (9 for the ``DEC_LAYERS = 10`` of the published configs).
        num_heads: Attention heads.
        ffn_dim: Width inside of the feed-forward networks.
        num_levels: Memories.
        dropout: Dropout of all layers.
        pre_norm: Normalise before the parts of a layer instead of after them.
        project_inputs: Project the memories even where they have the right width.
    """

    def __init__(
        self,
        classifier: QueryClassifier,
        in_channels: int = 256,
        dim: int = 256,
        mask_dim: int = 256,
        num_queries: int = 100,
        num_layers: int = 9,
        num_heads: int = 8,
        ffn_dim: int = 2048,
        num_levels: int = 3,
        dropout: float = 0.0,
        pre_norm: bool = False,
        project_inputs: bool = False,
    ) -> None:
        super().__init__()
        self.query_feat = nn.Embedding(num_queries, dim)
        self.query_embed = nn.Embedding(num_queries, dim)
        self.level_embed = nn.Embedding(num_levels, dim)
        project = project_inputs or in_channels != dim
        self.input_proj = nn.ModuleList(
            nn.Conv2d(in_channels, dim, kernel_size=1) if project else nn.Identity() for _ in range(num_levels)
        )
        for projection in self.input_proj if project else ():
            caffe2_xavier_init(projection)
        self.layers = nn.ModuleList(
            MaskedDecoderLayer(dim, num_heads, ffn_dim, dropout, pre_norm, index) for index in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.mask_embed = MLP(dim, dim, mask_dim, 3)
        self.classifier = classifier

    def forward(
        self,
        pixels: PixelFeatures,
        text_rows: Tensor | None = None,
        synonyms_per_class: Tensor | None = None,
        guide: QueryGuide | None = None,
        all_layers: bool = True,
    ) -> MaskPredictions:
        """Decode.

        Args:
            pixels: From the pixel decoder.
            text_rows: Text rows for the classifier, the void row last.
            synonyms_per_class: Rows of each class.
            guide: May change the queries in every layer.
            all_layers: Classify after every layer, for deep supervision; otherwise after the last one only.

        Shape:
            - text_rows: :math:`(R, D)` or :math:`(N, R, D)`; synonyms_per_class: :math:`(K)`
        """
        memories, positions = self._memories(pixels)
        sizes = [(m.shape[-2], m.shape[-1]) for m in pixels.memories]
        queries = self.query_feat.weight.expand(pixels.mask_features.shape[0], -1, -1)
        text = (text_rows, synonyms_per_class)
        # A mask that only steers attention is made at the size that attention reads: resizing the features first gives
        # the same map, for they enter linearly.
        maps = [pixels.mask_features if all_layers else _resize(pixels.mask_features, size) for size in sizes]
        layers = []
        for index, layer in enumerate(self.layers):
            level = index % len(memories)
            normed, embeddings, mask_logits = self._masks(queries, maps[level])
            if all_layers:
                prediction = self._classify(normed, embeddings, mask_logits, pixels.mask_features, text)
                layers.append(prediction.without_masks())  # ten of them would be the largest part of a training step
            allowed = attention_mask(mask_logits, sizes[level])
            queries = layer(queries, self.query_embed.weight, memories[level], positions[level], allowed, guide)
        normed, embeddings, mask_logits = self._masks(queries, pixels.mask_features)
        layers.append(self._classify(normed, embeddings, mask_logits, pixels.mask_features, text))
        return MaskPredictions(tuple(layers), pixels)

    def _memories(self, pixels: PixelFeatures) -> tuple[list[Tensor], list[Tensor]]:
        """Tokens of each level with its level embedding, (N, L, C), and their positions, (1, L, C)."""
        memories, positions = [], []
        for projection, level, memory in zip(self.input_proj, self.level_embed.weight, pixels.memories, strict=True):
            tokens = projection(memory)
            positions.append(sine_positions(tokens).flatten(2).transpose(1, 2).to(tokens.dtype))
            memories.append(tokens.flatten(2).transpose(1, 2) + level)
        return memories, positions

    def _masks(self, queries: Tensor, mask_features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised queries (N, Q, C), their mask embeddings, and their mask logits (N, Q, h, w)."""
        normed = self.norm(queries)
        embeddings = self.mask_embed(normed)
        return normed, embeddings, mask_product(embeddings, mask_features)

    def _classify(
        self,
        normed: Tensor,
        mask_embeddings: Tensor,
        mask_logits: Tensor,
        mask_features: Tensor,
        text: tuple[Tensor | None, Tensor | None],
    ) -> LayerPrediction:
        # where a mask is, not how sure: a region that forgets its activations keeps this, a quarter as large
        inside = mask_logits.detach() > 0
        class_logits, embeddings = self.classifier(normed, inside, mask_features, *text)
        return LayerPrediction(mask_logits, class_logits, embeddings, mask_embeddings, mask_features)
