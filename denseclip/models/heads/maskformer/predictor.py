"""From a map and learnt queries to masks and class embeddings."""

from __future__ import annotations

from typing import NamedTuple

import torch
from mmdet.models.layers import MLP
from mmengine.model import caffe2_xavier_init
from torch import Tensor, nn

from ..mask2former.positions import sine_positions
from ..mask_head import PixelFeatures
from ..query_guide import QueryGuide
from .transformer import Decoder, Encoder, Transformer, to_tokens


class QueryOutputs(NamedTuple):
    """What the layers of the decoder say, first layer first.

    Attributes:
        states: Normed queries, (layers, N, Q, C).
        class_embeddings: Not normalised, (layers, N, Q, D).
        mask_logits: (layers, N, Q, h, w).
    """

    states: Tensor
    class_embeddings: Tensor
    mask_logits: Tensor


class QueryPredictor(nn.Module):
    """MaskFormer's transformer decoder with a class embedding in place of class scores.

    Source: MaskFormer (Cheng et al., NeurIPS 2021), section 3.3; class embeddings: ZSSeg and OVSeg (Liang et al.,
    CVPR 2023), section 3.1.

    Args:
        in_channels: Channels of the memory.
        embed_dim: Width of class embeddings, that of the text.
        mask_dim: Channels of the mask features.
        dim: Width of the queries.
        num_queries: Masks per picture.
        num_heads: Attention heads.
        ffn_dim: Width inside of the feed-forward networks.
        encoder_layers: Encoder layers over the memory.
        decoder_layers: Decoder layers.
        dropout: Dropout of all layers.
        pre_norm: Normalise before the parts of a layer.
        embed_hidden_dim: Width inside of the class embedding's network.
        embed_layers: Its linear layers.
        project_input: Project the memory even where it has the right width.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dim: int,
        mask_dim: int = 256,
        dim: int = 256,
        num_queries: int = 100,
        num_heads: int = 8,
        ffn_dim: int = 2048,
        encoder_layers: int = 0,
        decoder_layers: int = 6,
        dropout: float = 0.1,
        pre_norm: bool = False,
        embed_hidden_dim: int = 1024,
        embed_layers: int = 2,
        project_input: bool = False,
    ) -> None:
        super().__init__()
        layer = (dim, num_heads, ffn_dim, dropout, pre_norm)
        self.transformer = Transformer(Encoder(encoder_layers, *layer), Decoder(decoder_layers, *layer))
        self.query_embed = nn.Embedding(num_queries, dim)
        project = project_input or in_channels != dim
        self.input_proj = nn.Conv2d(in_channels, dim, kernel_size=1) if project else nn.Identity()
        self.class_embed = MLP(dim, embed_hidden_dim, embed_dim, embed_layers)
        self.mask_embed = MLP(dim, dim, mask_dim, 3)

    @property
    def decoder_layers(self) -> nn.ModuleList:
        """Layers of the decoder."""
        assert self.transformer.decoder is not None
        return self.transformer.decoder.layers

    def init_weights(self) -> None:
        """Matrices of transformer and projection; the rest keeps PyTorch's initial values."""
        self.transformer.init_weights()
        if isinstance(self.input_proj, nn.Conv2d):
            caffe2_xavier_init(self.input_proj, bias=0)

    def forward(
        self, pixels: PixelFeatures, guide: QueryGuide | None = None, *, all_layers: bool = True
    ) -> QueryOutputs:
        """Predict.

        Args:
            pixels: Mask features and one memory.
            guide: Steers the queries.
            all_layers: Predict after every layer, not only after the last.
        """
        memory = self.input_proj(pixels.memories[0])
        positions = to_tokens(sine_positions(memory))
        memory = self.transformer.encoder(to_tokens(memory), positions)
        decoder = self.transformer.decoder
        assert decoder is not None
        states = decoder(self.query_embed.weight, memory, positions, guide, all_layers=all_layers)
        masks = torch.einsum('lnqc,nchw->lnqhw', self.mask_embed(states), pixels.mask_features)
        return QueryOutputs(states, self.class_embed(states), masks)
