"""Models as one function of pictures and class embeddings.

A graph gives ``scores`` (N, K, h, w) and, where confidences of words need them, ``pixels`` (N, C, h, w): vectors whose
products with one row per word are scores of words that were not asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import Tensor, nn

from denseclip.models.functional.open_vocab import cosine_scores, unit_length

JUMPS = 0.01
"""Share of the scores that may differ more where they jump."""


class ImageGraph(nn.Module):
    """Base of the graphs.

    Args:
        model: The model, ready for export or as it is.

    Attributes:
        outputs: Names of what :meth:`forward` gives.
        unit_text: Whether class embeddings have length one.
        jumps: Whether scores jump where another number crosses a threshold, which rounding can make it do.
        cases: Pictures, height, width and classes that it is compared with PyTorch for.
        least: Shortest side of a picture.
        multiple: Sides are whole multiples of it; the runtime fills pictures up.
        batch: The only number of pictures that it takes; None: any.
        free: Axes of inputs besides pictures and class embeddings that may have any length, with a name for each.
        seen: Outputs that :meth:`changed` compares.
        changes: What it counts, for people.
    """

    outputs: tuple[str, ...] = ('scores',)
    unit_text = True
    jumps = False
    cases: tuple[tuple[int, int, int, int], ...] = (
        (1, 224, 224, 1),
        (1, 97, 131, 60),
        (2, 64, 96, 3),
        (1, 161, 75, 11),
        (1, 33, 257, 2),
        (1, 360, 480, 11),
    )
    least = 1
    multiple = 1
    batch: int | None = None
    free: Mapping[str, Mapping[int, str]] = MappingProxyType({})
    seen: tuple[str, ...] = ('scores',)
    changes = 'labels'

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def more(self, height: int, width: int) -> dict[str, Tensor]:
        """Inputs besides pictures and class embeddings, for a picture of this size."""
        del height, width
        return {}

    def more_of_photographs(self, height: int, width: int) -> dict[str, np.ndarray]:
        """The same as the runtime gives them."""
        return {name: value.numpy() for name, value in self.more(height, width).items()}

    def changed(self, found: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> float:
        """Share of what people see that is another in a lower precision: of the best classes of places."""
        return float((found[0].argmax(axis=1) != right[0].argmax(axis=1)).mean())

    def difference(self, found: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> float:
        """How far outputs are from what they should be, relative to the largest of each.

        Where scores jump, those that rounding moved across a threshold are left out.

        Raises:
            ValueError: If one has another shape.
        """
        worst = 0.0
        for part, wanted in zip(found, right, strict=True):
            if part.shape != wanted.shape:
                raise ValueError(f'the graph gives {part.shape} instead of {wanted.shape}')
            parts = np.abs(part - wanted) / max(float(np.abs(wanted).max()), 1e-6)
            most = float(np.quantile(parts, 1 - JUMPS, method='higher') if self.jumps else parts.max())
            worst = max(worst, most) if most == most else np.inf
        return worst


class DenseCLIPGraph(ImageGraph):
    """DenseCLIP; post-model prompting is inside."""

    unit_text = False

    def forward(self, images: Tensor, text: Tensor) -> tuple[Tensor, ...]:
        """Logits of pictures (N, 3, H, W) for class embeddings (K, E)."""
        return (self.model.logits_for(images, text),)


class ComparingDenseCLIPGraph(ImageGraph):
    """DenseCLIP whose head compares pixels with the text encoder's own embeddings, and so with any others."""

    outputs = ('scores', 'pixels')
    unit_text = False

    def forward(self, images: Tensor, text: Tensor) -> tuple[Tensor, ...]:
        """Logits and the head's pixels."""
        raw, *levels = self.model.head_inputs(images, text)
        pixels = self.model.decode_head.unit_pixels(levels)
        return self.model.decode_head.compare(pixels, raw), pixels


class ClosedGraph(ImageGraph):
    """MMSegmentation's ``EncoderDecoder``, whose classes are part of its weights."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits of pictures (N, 3, H, W)."""
        return (self.model._forward(images),)


class OpenVocabularyGraph(ImageGraph):
    """Dense CLIP with any read-out: cosines, or probabilities over the rows of ``text``."""

    outputs = ('scores', 'pixels')

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.jumps = model.affinity is not None or hasattr(model, 'gamma')

    def forward(self, images: Tensor, text: Tensor) -> tuple[Tensor, ...]:
        """Scores of the rows, and pixel embeddings of length one."""
        pixels = unit_length(self.model.dense_features(images))
        cosines = cosine_scores(pixels, text)
        if self.model.output == 'probabilities':
            return (cosines * self.model.scale).softmax(dim=1), pixels
        return cosines, pixels


class MaskCLIPPlusGraph(ImageGraph):
    """The student of MaskCLIP+; its teacher is left out."""

    def forward(self, images: Tensor, text: Tensor) -> tuple[Tensor, ...]:
        """Logits."""
        head = self.model.decode_head
        return (head.classify(head.features(self.model.backbone(images)), text),)
