"""From a query to its class: against rows of text, or with a fixed linear layer."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from mmdet.models.layers import MLP
from torch import Tensor, nn

from denseclip.models.functional.mask_pooling import mask_pool
from denseclip.models.functional.text_logits import text_logits


class QueryClassifier(Protocol):
    """Classifies queries that know their masks."""

    def __call__(
        self,
        queries: Tensor,
        inside: Tensor,
        mask_features: Tensor,
        text_rows: Tensor | None = None,
        synonyms_per_class: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Class logits (N, Q, K + 1), void last, and class embeddings (N, Q, D) where there are any."""
        ...


class TextClassifier(nn.Module):
    """Class embedding from a query and the features under its mask, compared with text rows.

    Source: FC-CLIP (Yu et al., NeurIPS 2023), section 3.3.

    Args:
        dim: Width of the queries and of the mask features.
        embed_dim: Width of the text rows.
        logit_scale: Initial logarithm of the factor of the cosines; it is learnt, the factor stays below 100.
    """

    def __init__(self, dim: int, embed_dim: int, logit_scale: float = math.log(1 / 0.07)) -> None:
        super().__init__()
        self.pool_proj = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim))
        self.class_embed = MLP(dim, dim, embed_dim, 3)
        self.logit_scale = nn.Parameter(torch.tensor(logit_scale))

    def forward(
        self,
        queries: Tensor,
        inside: Tensor,
        mask_features: Tensor,
        text_rows: Tensor | None = None,
        synonyms_per_class: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Classify.

        Args:
            queries: Normalised queries.
            inside: Which pixels their masks hold, bool.
            mask_features: The map the masks were made from.
            text_rows: See :func:`denseclip.models.functional.text_logits.text_logits`.
            synonyms_per_class: Likewise.

        Raises:
            ValueError: Without text.

        Shape:
            - queries: :math:`(N, Q, C)`; inside: :math:`(N, Q, h, w)`; mask_features: :math:`(N, C, h, w)`
            - text_rows: :math:`(R, D)` or :math:`(N, R, D)`; results: :math:`(N, Q, K + 1)`, :math:`(N, Q, D)`
        """
        if text_rows is None or synonyms_per_class is None:
            raise ValueError('this head compares with text: give it text_rows and synonyms_per_class.')
        pooled = self.pool_proj(mask_pool(mask_features, inside))
        embeddings = self.class_embed(pooled + queries)
        return text_logits(embeddings, text_rows, synonyms_per_class, self.logit_scale), embeddings


class LinearClassifier(nn.Linear):
    """Mask2Former's own classifier: a fixed list of classes, and the void class.

    Args:
        dim: Width of the queries.
        num_classes: Classes without void.
    """

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__(dim, num_classes + 1)

    def forward(  # type: ignore[override]
        self,
        queries: Tensor,
        inside: Tensor,
        mask_features: Tensor,
        text_rows: Tensor | None = None,
        synonyms_per_class: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Logits of the queries alone; masks and text are not looked at."""
        return super().forward(queries), None
