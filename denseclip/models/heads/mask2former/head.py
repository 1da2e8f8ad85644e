"""Open-vocabulary mask generator: backbone maps to masks and their classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from ..mask_head import MaskPredictions, PixelFeatures
from ..query_guide import QueryGuide
from .classifiers import LinearClassifier, QueryClassifier, TextClassifier
from .criterion import MaskCriterion, MatchedLosses
from .decoder import MaskedQueryDecoder
from .pixel_decoder import DeformablePixelDecoder


@MODELS.register_module()
class OpenVocabMask2FormerHead(BaseModule):
    """Mask2Former whose classes are rows of text (FC-CLIP's mask generator), or a fixed list.

    The head knows no names: text rows come with every call, so any vocabulary works at any time.

    Args:
        in_channels: Channels of the backbone's maps, finest first (strides 4, 8, 16, 32).
        embed_dim: Width of the text rows; None for a head with a fixed list of classes.
        num_classes: Length of that list, without void; None for a head that reads text.
        dim: Width of memories, queries and mask features.
        num_queries: Masks per picture (100 in MAFT+, 250 in FC-CLIP).
        num_layers: Decoder layers.
        num_heads: Attention heads of both decoders.
        ffn_dim: Width inside of the decoder's feed-forward networks.
        pixel_decoder: Further arguments of :class:`DeformablePixelDecoder`.
        decoder: Further arguments of :class:`MaskedQueryDecoder`.
        criterion: Arguments of :class:`MaskCriterion`.
        init_cfg: MMEngine initialisation config.

    Raises:
        ValueError: If neither or both of ``embed_dim`` and ``num_classes`` are given.
    """

    open_vocabulary = True
    tells_matches = True
    """Whether :meth:`loss` tells which queries answer for which segments (``also``)."""

    def __init__(
        self,
        in_channels: Sequence[int],
        embed_dim: int | None = None,
        num_classes: int | None = None,
        dim: int = 256,
        num_queries: int = 100,
        num_layers: int = 9,
        num_heads: int = 8,
        ffn_dim: int = 2048,
        pixel_decoder: dict[str, Any] | None = None,
        decoder: dict[str, Any] | None = None,
        criterion: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        classifier: QueryClassifier
        if embed_dim is not None and num_classes is None:
            classifier = TextClassifier(dim, embed_dim)
        elif num_classes is not None and embed_dim is None:
            classifier = LinearClassifier(dim, num_classes)
        else:
            raise ValueError(
                'OpenVocabMask2FormerHead takes either embed_dim (classes from text) or num_classes (a fixed list), '
                f'got embed_dim={embed_dim}, num_classes={num_classes}.'
            )
        self.open_vocabulary = embed_dim is not None
        self.num_queries = num_queries
        self.pixel_decoder = DeformablePixelDecoder(
            in_channels, dim=dim, mask_dim=dim, num_heads=num_heads, **(pixel_decoder or {})
        )
        layers = dict(num_queries=num_queries, num_layers=num_layers, num_heads=num_heads, ffn_dim=ffn_dim)
        sizes = dict(in_channels=dim, dim=dim, mask_dim=dim, num_levels=self.pixel_decoder.num_levels)
        self.decoder = MaskedQueryDecoder(classifier, **{**sizes, **layers, **(decoder or {})})
        self.criterion = MaskCriterion(**(criterion or {}))

    @property
    def query_dim(self) -> int:
        """Width of the queries."""
        return self.decoder.query_embed.weight.shape[1]

    @property
    def num_layers(self) -> int:
        """Layers of the decoder."""
        return len(self.decoder.layers)

    @property
    def num_heads(self) -> int:
        """Attention heads of the decoder."""
        return self.decoder.layers[0].image_attention.attn.num_heads  # type: ignore[union-attr, return-value]

    @property
    def logit_scale(self) -> Tensor:
        """See :class:`~denseclip.models.heads.mask_head.MaskHead`; a head with a fixed list of classes has none."""
        classifier: Any = self.decoder.classifier
        return classifier.logit_scale

    def pixel_features(self, features: Sequence[Tensor]) -> PixelFeatures:
        """Run the pixel decoder.

        Args:
            features: Maps of the backbone, finest first.

        Shape:
            - features: :math:`(N, C_i, h_i, w_i)`
        """
        return self.pixel_decoder(features)

    def decode(
        self,
        pixels: PixelFeatures,
        text_rows: Tensor | None = None,
        synonyms_per_class: Tensor | None = None,
        guide: QueryGuide | None = None,
        *,
        all_layers: bool | None = None,
    ) -> MaskPredictions:
        """Run the decoder; the pixel features of a picture may serve several calls.

        Args:
            pixels: From :meth:`pixel_features`.
            text_rows: One unit-length row per name, those of a class next to each other, then the void row.
            synonyms_per_class: Names of each class, an integer tensor on the rows' device; void is not counted.
            guide: May change the queries in every layer.
            all_layers: Keep the predictions of all layers; by default in training only.

        Shape:
            - text_rows: :math:`(R, D)` or :math:`(N, R, D)`; synonyms_per_class: :math:`(K)`
        """
        keep = self.training if all_layers is None else all_layers
        return self.decoder(pixels, text_rows, synonyms_per_class, guide, keep)

    def forward(
        self,
        features: Sequence[Tensor],
        text_rows: Tensor | None = None,
        synonyms_per_class: Tensor | None = None,
        guide: QueryGuide | None = None,
        *,
        all_layers: bool | None = None,
    ) -> MaskPredictions:
        """:meth:`pixel_features`, then :meth:`decode`."""
        return self.decode(self.pixel_features(features), text_rows, synonyms_per_class, guide, all_layers=all_layers)

    def loss(
        self, predictions: MaskPredictions, targets: Sequence[InstanceData], also: MatchedLosses | None = None
    ) -> dict[str, Tensor]:
        """Weighted losses, see :class:`MaskCriterion`.

        Args:
            predictions: Of all layers.
            targets: ``labels`` (n) and ``masks`` (n, H, W) of each picture, of the padded batch's size.
            also: Further losses of segments and the queries that the last layer matches them with.
        """
        return self.criterion(predictions, targets, also)
