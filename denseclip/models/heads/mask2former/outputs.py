"""What the parts of a mask generator hand to each other."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from denseclip.structures.mask_proposals import MaskProposals


@dataclass(frozen=True)
class PixelFeatures:
    """What the pixel decoder makes of the backbone's maps.

    Attributes:
        mask_features: Map that mask embeddings are multiplied with, (N, mask_dim, H/4, W/4).
        memories: Maps that the queries attend to, each (N, dim, h, w), coarsest first.
    """

    mask_features: Tensor
    memories: tuple[Tensor, ...]


@dataclass(frozen=True)
class LayerPrediction:
    """Masks and their classes as one layer of the decoder sees them.

    Attributes:
        mask_logits: (N, Q, H/4, W/4).
        class_logits: (N, Q, K + 1), the void class last.
        class_embeddings: Embeddings that the text rows were compared with, (N, Q, D); None with a linear classifier.
    """

    mask_logits: Tensor
    class_logits: Tensor
    class_embeddings: Tensor | None = None


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
