"""ResCLIP: attention of middle blocks and of a first prediction, mixed into the last block (Yang et al., CVPR 2025)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor

from denseclip.clip.attention import Guide
from denseclip.clip.towers import TowerOutput, ViTTower
from denseclip.core.placement import size_of
from denseclip.models.functional.affinity import semantic_prior
from denseclip.models.functional.pamr import pamr

from .open_vocab import OpenVocabularySegmentor


def residual_guide(
    weights: Tensor, prior: Tensor, cross: Sequence[float] = (2.0, 0.3), feedback: Sequence[float] = (2.2, 0.7)
) -> Guide:
    """What ResCLIP adds to the last attention.

    The logits become ``t1 ((1 - l1) kk + l1 prior)``, and the weights ``t2 ((1 - l2) softmax + l2 weights)``.

    Source: ResCLIP, sections 3.2 and 3.3.

    Args:
        weights: Mean attention weights of middle blocks.
        prior: See :func:`semantic_prior`; its largest value becomes 1.
        cross: ``(t2, l2)``; the paper tunes both per data set.
        feedback: ``(t1, l1)``, likewise.

    Shape:
        - weights: :math:`(N, heads, L, L)`; prior: :math:`(N, L, L)`
    """
    (gain, mixed), (sharpness, fed) = cross, feedback
    prior = prior / prior.amax(dim=(1, 2), keepdim=True)
    return Guide(
        bias=(sharpness * fed * prior).unsqueeze(1).to(weights.dtype),
        mix=gain * mixed * weights,
        scale=sharpness * (1 - fed),
        gain=gain * (1 - mixed),
    )


@MODELS.register_module()
class ResCLIPSegmentor(OpenVocabularySegmentor):
    """Reads the last block twice: as NACLIP, then with that prediction and the attention of middle blocks mixed in.

    Args:
        clip: See :class:`OpenVocabularySegmentor`; the read-out names the middle blocks (``weights_from``).
        cross: See :func:`residual_guide`.
        feedback: See :func:`residual_guide`.
        prior_pamr: Settings of the refinement of the first prediction; None takes it as it is.
        **kwargs: Further arguments of :class:`OpenVocabularySegmentor`.
    """

    tower: ViTTower

    def __init__(
        self,
        clip: Any,
        *args: Any,
        cross: Sequence[float] = (2.0, 0.3),
        feedback: Sequence[float] = (2.2, 0.7),
        prior_pamr: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(clip, *args, **kwargs)
        if not isinstance(self.tower, ViTTower) or not self.tower.weights_from:
            raise ValueError("ResCLIPSegmentor needs a CLIP ViT and read_out.weights_from (preset='resclip').")
        self.cross, self.feedback, self.prior_pamr = tuple(cross), tuple(feedback), prior_pamr

    def read(self, images: Tensor) -> TowerOutput:
        """Both readings; see :meth:`OpenVocabularySegmentor.read`."""
        self.need_weights()
        padded = self.pad(images)
        out = self.tower(padded)
        assert out.weights is not None and out.tokens is not None and out.grid is not None
        prior = semantic_prior(self._first_labels(padded, out))
        guide = residual_guide(out.weights, prior, self.cross, self.feedback)
        out.dense, out.unprojected = self.tower.read_dense(out.tokens, out.grid, guide, out.notes)
        return self.noted(out)

    @torch.no_grad()
    def _first_labels(self, images: Tensor, out: TowerOutput) -> Tensor:
        """Class of each patch by the first reading, (N, h, w)."""
        assert out.dense is not None
        text = self.class_embeddings()
        scores = self.class_scores(out.dense, pooled=out.pooled)
        if self.prior_pamr is not None:
            scores = F.adaptive_avg_pool2d(pamr(images, scores, **self.prior_pamr), size_of(out.dense))
        best = scores.argmax(dim=1)
        return text.class_index[best] if scores.shape[1] > len(text) else best
