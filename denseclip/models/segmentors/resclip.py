"""ResCLIP: attention of middle blocks and of a first prediction, mixed into the last block (Yang et al., CVPR 2025)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor

from denseclip.clip.attention import Guide
from denseclip.clip.towers import TowerOutput, ViTTower
from denseclip.models.functional.affinity import semantic_prior
from denseclip.models.functional.open_vocab import cosine_scores
from denseclip.models.functional.pamr import pamr_parts

from .open_vocab import OpenVocabularySegmentor


def residual_guide(
    weights: Tensor,
    prior: Tensor | None,
    cross: Sequence[float] = (2.0, 0.3),
    feedback: Sequence[float] = (2.2, 0.7),
) -> Guide:
    """What ResCLIP adds to the last attention.

    The logits become ``t1 ((1 - l1) kk + l1 prior)``, and the weights ``t2 ((1 - l2) softmax + l2 weights)``.

    Source: ResCLIP, sections 3.2 and 3.3.

    Args:
        weights: Mean attention weights of middle blocks.
        prior: See :func:`semantic_prior`; its largest value becomes 1. None leaves the logits alone: the first reading.
        cross: ``(t2, l2)``; the paper tunes both per data set.
        feedback: ``(t1, l1)``, likewise.

    Shape:
        - weights: :math:`(N, heads, L, L)`; prior: :math:`(N, L, L)`
    """
    (gain, mixed), (sharpness, fed) = cross, feedback
    if prior is None:
        return Guide(mix=gain * mixed * weights, gain=gain * (1 - mixed))
    prior = prior / prior.amax(dim=(1, 2), keepdim=True)
    return Guide(
        bias=(sharpness * fed * prior).unsqueeze(1).to(weights.dtype),
        mix=gain * mixed * weights,
        scale=sharpness * (1 - fed),
        gain=gain * (1 - mixed),
    )


def patch_labels(
    image: Tensor,
    cosines: Tensor,
    patch: tuple[int, int],
    scale: float,
    least: float = 0.0,
    refine: Mapping[str, Any] | None = None,
) -> Tensor:
    """Label of each patch in a first prediction: the most frequent one of its pixels.

    Source: ResCLIP, section 3.3; names compete, not classes, as in the authors' ``create_patch_matrix``.

    Args:
        image: The normalised picture.
        cosines: Of the patches with each name.
        patch: Height and width of a patch in pixels.
        scale: Factor of the cosines before the softmax.
        least: Pixels whose best name is less probable get label 0.
        refine: Settings of :func:`pamr`; None takes the cosines as they are.

    Shape:
        - image: :math:`(N, 3, H, W)`; cosines: :math:`(N, K, h, w)`; result: :math:`(N, h, w)`
    """
    settings = dict(iterations=0) if refine is None else dict(refine)
    labels = best = total = None
    seen = 0
    for part in pamr_parts(image, cosines, align_corners=False, **settings):
        value, index = (part.float() * scale).max(dim=1)
        mass = (part.float() * scale).logsumexp(dim=1)
        if labels is None or best is None or total is None:
            labels, best, total = index, value, mass
        else:
            labels = torch.where(value > best, index + seen, labels)
            best, total = torch.maximum(best, value), torch.logaddexp(total, mass)
        seen += part.shape[1]
    assert labels is not None and best is not None and total is not None
    labels = labels.masked_fill((best - total).exp() < least, 0)
    pixels = labels.unfold(1, patch[0], patch[0]).unfold(2, patch[1], patch[1])
    return pixels.flatten(3).mode(dim=-1).values


@MODELS.register_module()
class ResCLIPSegmentor(OpenVocabularySegmentor):
    """Reads the last block twice: with the attention of middle blocks, then with that prediction mixed in, too.

    Args:
        clip: See :class:`OpenVocabularySegmentor`; the read-out names the middle blocks (``weights_from``).
        cross: See :func:`residual_guide`.
        feedback: See :func:`residual_guide`.
        least_score: Pixels of the first prediction whose best name is less probable count as label 0, 0..1; the authors
            tune it for each data set, from 0.1 to 0.5.
        prior_pamr: Settings of the refinement of the first prediction; None takes it as it is.
        **kwargs: Further arguments of :class:`OpenVocabularySegmentor`.

    Raises:
        ValueError: If the tower is no ViT that tells its attention, or a share is not in 0..1.
    """

    tower: ViTTower

    def __init__(
        self,
        clip: Any,
        *args: Any,
        cross: Sequence[float] = (2.0, 0.3),
        feedback: Sequence[float] = (2.2, 0.7),
        least_score: float = 0.1,
        prior_pamr: Mapping[str, Any] | None = MappingProxyType(dict(iterations=10, dilations=(8, 16))),
        **kwargs: Any,
    ) -> None:
        super().__init__(clip, *args, **kwargs)
        if not isinstance(self.tower, ViTTower) or not self.tower.weights_from:
            raise ValueError("ResCLIPSegmentor needs a CLIP ViT and read_out.weights_from (preset='resclip').")
        if not 0 <= least_score <= 1:
            raise ValueError(f'least_score={least_score} is no share in 0..1.')
        self.cross, self.feedback, self.least_score = tuple(cross), tuple(feedback), least_score
        self.prior_pamr = None if prior_pamr is None else dict(prior_pamr)

    def read(self, images: Tensor) -> TowerOutput:
        """Both readings; see :meth:`OpenVocabularySegmentor.read`."""
        self.need_weights()
        padded = self.pad(images)
        pooled = self.tower.read_out.pooled
        out = self.tower(padded) if pooled else self.tower.before_last(padded, repair=False)
        assert out.weights is not None and out.tokens is not None and out.grid is not None
        first = residual_guide(out.weights, None, self.cross)
        out.dense, _ = self.tower.read_dense(out.tokens, out.grid, first, out.notes)
        prior = semantic_prior(self._first_labels(padded, out), self.tower.read_out.gaussian or 5.0)
        guide = residual_guide(out.weights, prior, self.cross, self.feedback)
        out.dense, out.unprojected = self.tower.read_dense(out.tokens, out.grid, guide, out.notes)
        return self.noted(out)

    @torch.no_grad()
    def _first_labels(self, images: Tensor, out: TowerOutput) -> Tensor:
        """Name of each patch by the first reading, (N, h, w)."""
        assert out.dense is not None
        cosines = cosine_scores(self.remove_prompts(out.dense), self.class_embeddings().embeddings)
        patch = self.tower.visual.patch_size
        return patch_labels(images, cosines, patch, float(self.scale), self.least_score, self.prior_pamr)
