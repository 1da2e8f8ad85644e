"""What a mask head is: what FC-CLIP, MAFT+, OVSeg and PMP on each of them ask, and what its parts hand on.

A head that answers to :class:`MaskHead` works in each of them. Adding one takes its module, its name in
``denseclip/models/heads/__init__.py`` and ``docs/plug_in.md``, and a config with ``head.type`` or ``decode_head.type``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from denseclip.structures.mask_proposals import MaskProposals

from .query_guide import QueryGuide


@dataclass(frozen=True)
class PixelFeatures:
    """What the pixel decoder makes of the backbone's maps.

    Attributes:
        mask_features: Map that mask embeddings are multiplied with, (N, mask_dim, H/4, W/4).
        memories: Maps that the queries attend to, each (N, dim, h, w), coarsest first.
    """

    mask_features: Tensor
    memories: tuple[Tensor, ...]


def mask_product(embeddings: Tensor, features: Tensor) -> Tensor:
    """Mask logits (N, Q, h, w) of mask embeddings (N, Q, C) and mask features (N, C, h, w)."""
    return torch.einsum('nqc,nchw->nqhw', embeddings, features)


@dataclass(frozen=True)
class LayerPrediction:
    """Masks and their classes as one layer of the decoder sees them.

    Attributes:
        kept_masks: Mask logits, (N, Q, H/4, W/4); None: made of their factors whenever somebody asks for them.
        class_logits: (N, Q, K + 1), the void class last.
        class_embeddings: Embeddings that the text rows were compared with, (N, Q, D); None with a linear classifier.
        mask_embeddings: What the masks are products of, (N, Q, C), with ``mask_features``; None where nobody knows.
        mask_features: The other factor, (N, C, H/4, W/4).
    """

    kept_masks: Tensor | None
    class_logits: Tensor
    class_embeddings: Tensor | None = None
    mask_embeddings: Tensor | None = None
    mask_features: Tensor | None = None

    @property
    def mask_logits(self) -> Tensor:
        """Mask logits, (N, Q, H/4, W/4)."""
        if self.kept_masks is not None:
            return self.kept_masks
        assert self.mask_embeddings is not None and self.mask_features is not None
        return mask_product(self.mask_embeddings, self.mask_features)

    @property
    def has_factors(self) -> bool:
        """Whether it is known what the masks are products of."""
        return self.mask_embeddings is not None and self.mask_features is not None

    def without_masks(self) -> LayerPrediction:
        """The same, without keeping masks that can be made again."""
        return replace(self, kept_masks=None) if self.has_factors else self

    def matched(self, queries: Sequence[Tensor]) -> Tensor:
        """Mask logits of some queries, for losses.

        A gradient of few masks comes as one of all, mostly zeros, and its products with both factors are those of all;
        so where the factors are known, the masks are made again, and only theirs get one.

        Args:
            queries: Of each picture, on the masks' device.

        Shape:
            - queries: each :math:`(M_n)`; result: :math:`(M, h, w)`, those of all pictures
        """
        if self.mask_embeddings is None or self.mask_features is None:
            return torch.cat([masks[chosen] for masks, chosen in zip(self.mask_logits, queries, strict=True)])
        dtype = torch.promote_types(self.mask_embeddings.dtype, self.mask_features.dtype)
        pictures = zip(self.mask_embeddings, self.mask_features, queries, strict=True)
        parts = [rows[chosen].to(dtype) @ plane.to(dtype).flatten(1) for rows, plane, chosen in pictures]
        return torch.cat(parts).unflatten(1, self.mask_features.shape[-2:])


@dataclass(frozen=True)
class MaskPredictions:
    """Predictions of a decoder.

    Attributes:
        layers: Prediction i comes after i layers, so the first one comes from the learnt queries; only the last one
            unless all were asked for.
        pixels: What the masks were made from.
    """

    layers: tuple[LayerPrediction, ...]
    pixels: PixelFeatures

    @property
    def last(self) -> LayerPrediction:
        """Prediction of the last layer."""
        return self.layers[-1]

    @property
    def proposals(self) -> MaskProposals:
        """Masks and embeddings of the last layer, for a second stage that does not care where they come from."""
        return MaskProposals(self.last.mask_logits, self.last.class_embeddings)


@runtime_checkable
class MaskHead(Protocol):
    """From the maps of a backbone to masks and their classes, which are rows of text that come with every call.

    It is built with ``in_channels`` of the maps, finest first, and ``embed_dim``, the width of the rows.
    """

    @property
    def query_dim(self) -> int:
        """Width of the queries, for a guide."""
        ...

    @property
    def num_layers(self) -> int:
        """Layers of the decoder, for a guide."""
        ...

    @property
    def num_heads(self) -> int:
        """Attention heads of the decoder, for a guide."""
        ...

    @property
    def logit_scale(self) -> Tensor:
        """Logarithm of the factor of the cosines of its class embeddings and text rows."""
        ...

    def pixel_features(self, features: Sequence[Tensor]) -> PixelFeatures:
        """The part that neither text nor queries take part in.

        Args:
            features: Maps of the backbone, finest first, each (N, C_i, h_i, w_i).
        """
        ...

    def decode(
        self,
        pixels: PixelFeatures,
        text_rows: Tensor,
        synonyms_per_class: Tensor,
        guide: QueryGuide | None = None,
        *,
        all_layers: bool | None = None,
    ) -> MaskPredictions:
        """Queries through the decoder; may be called several times with the same pixels.

        Args:
            pixels: From :meth:`pixel_features`.
            text_rows: One unit-length row per name, those of a class next to each other, then that of "no object",
                (R + 1, D).
            synonyms_per_class: Names of each class, (K,).
            guide: May change the queries in every layer.
            all_layers: Keep the predictions of all layers; by default in training only.
        """
        ...

    def loss(self, predictions: MaskPredictions, targets: Sequence[InstanceData]) -> dict[str, Tensor]:
        """Weighted losses.

        Args:
            predictions: Of all layers.
            targets: ``labels`` (n) and ``masks`` (n, H, W) of each picture, of the padded batch's size.
        """
        ...
