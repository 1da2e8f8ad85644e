"""From scores of patches to labels of pixels, with the thresholds and refinements of training-free methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from denseclip.clip.text_bank import TextEmbeddings
from denseclip.clip.towers import DenseReadOut
from denseclip.core.placement import Placement, upper_left
from denseclip.models.functional.open_vocab import (
    cosine_scores,
    key_smoothing,
    merge_names,
    prompt_denoising,
    thresholded_labels,
)
from denseclip.models.functional.pamr import pamr
from denseclip.models.functional.presence import Presence
from denseclip.models.functional.propagation import Propagation
from denseclip.models.functional.yes_no import RULES

from .score_maps import ScoreMaps


@dataclass(frozen=True)
class PostProcessing:
    """What is done to scores; nothing by default.

    Attributes:
        prompt_denoising: Probability that a class must reach somewhere in the picture to be kept (MaskCLIP, 0.5).
        key_smoothing: Patches less sure than this take the mean of patches with similar keys (MaskCLIP, 1.0). Scores
            are probabilities then.
        key_smoothing_as_released: As in MaskCLIP's code, see :func:`key_smoothing`.
        prob_threshold: Pixels whose best class is less probable become background.
        area_threshold: Classes with a smaller share of the pixels that are not background are dropped (SCLIP).
        pamr: Settings of :func:`denseclip.models.functional.pamr.pamr`; None leaves scores as they are. It sees scores
            and picture in the original size, as in the code of SCLIP, NACLIP and ResCLIP.
        propagation: Settings of :class:`denseclip.models.functional.propagation.Propagation` (PEARL); None leaves
            scores as they are. It takes cosines, sees what PAMR sees, and comes before it.
        normalize: Divide the scores of a pixel by their sum once labels are decided (NACLIP, ResCLIP). The best names
            of classes with several names do not add up to one by themselves.
        background: Label of pixels that a threshold takes away; None is the vocabulary's own background, or the class
            of that name.
        unknown_rule: With ``background='clipn'``: how classes and what is none of them compete, ``'agree'`` or
            ``'compete'``, see :func:`denseclip.models.functional.yes_no.with_unknown`.
        presence: Settings of :class:`denseclip.models.functional.presence.Presence`: names are moved towards what the
            picture shows (CASS); None leaves them. CLIP's own transformers only.
        remove_prompts: Texts whose linear part is taken out of pixel embeddings, see
            :mod:`denseclip.models.functional.prompt_removal`. Heads of ``denseclip adapt`` see embeddings as they are.
    """

    prompt_denoising: float | None = None
    key_smoothing: float | None = None
    key_smoothing_as_released: bool = False
    prob_threshold: float | None = None
    area_threshold: float | None = None
    pamr: Mapping[str, Any] | None = None
    propagation: Mapping[str, Any] | None = None
    normalize: bool = False
    background: int | None = None
    unknown_rule: str = 'agree'
    presence: Mapping[str, Any] | None = None
    remove_prompts: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.unknown_rule not in RULES:
            raise ValueError(f"unknown_rule='{self.unknown_rule}' is unknown; choose from {', '.join(RULES)}.")
        Propagation(**(self.propagation or {}))  # refused now, not with the first picture
        Presence(**(self.presence or {}))
        if isinstance(self.remove_prompts, str) or not all(isinstance(one, str) for one in self.remove_prompts):
            raise ValueError(f'remove_prompts={self.remove_prompts!r} must be a list of texts, such as ["a photo"].')
        object.__setattr__(self, 'remove_prompts', tuple(self.remove_prompts))

    def check(self, probabilities: bool) -> None:
        """Refuse what a model's scores, probabilities or cosines, cannot be used for.

        Raises:
            ValueError: If they are probabilities, and cosines are needed.
        """
        if self.propagation is not None and probabilities:
            raise ValueError(
                "post.propagation spreads cosines: set output='cosines', and take neither key_smoothing nor "
                "background='clipn', which make probabilities."
            )

    def adapt(self, read_out: DenseReadOut) -> DenseReadOut:
        """The read-out with what the refinements need."""
        if self.presence is not None:
            read_out = replace(read_out, pooled=True)
        if self.key_smoothing is None or read_out.keys is not None:
            return read_out
        return replace(read_out, keys='projected' if self.key_smoothing_as_released else 'raw')

    @property
    def presence_settings(self) -> Presence | None:
        """What :attr:`presence` says."""
        return None if self.presence is None else Presence(**self.presence)

    def cosines(self, dense: Tensor, names: Tensor, pooled: Tensor | None, groups: Tensor | None = None) -> Tensor:
        """Cosines (N, P, h, w) of pixel embeddings with names, moved where :attr:`presence` says so.

        Args:
            dense: Pixel embeddings, (N, E, h, w).
            names: Embeddings of the names, (P, E).
            pooled: Image embeddings, (N, E) or (1, E).
            groups: Of the names, (P,); None: they are made where they are needed.

        Raises:
            ValueError: If names are to be moved, and the image embedding is not known.
        """
        how = self.presence_settings
        if how is None:
            return cosine_scores(dense, names)
        if pooled is None:
            raise ValueError('post.presence needs the embedding of the whole picture, which this model does not make.')
        return how.cosines(dense, pooled, names, groups)

    def denoise(self, cosines: Tensor, scale: float) -> Tensor:
        """Cosines after prompt denoising, (N, K, h, w)."""
        if self.prompt_denoising is None:
            return cosines
        return prompt_denoising(cosines, self.prompt_denoising, scale)

    def smooth(self, probabilities: Tensor, keys: Tensor) -> Tensor:
        """Probabilities after key smoothing, (N, K, h, w)."""
        assert self.key_smoothing is not None
        return key_smoothing(probabilities, keys, self.key_smoothing, self.key_smoothing_as_released)

    @property
    def needs_scores(self) -> bool:
        """Whether labels need the scores of all classes in full resolution."""
        return any(value is not None for value in (self.prob_threshold, self.area_threshold, self.pamr))

    def background_label(self, names: Sequence[str], has_own: bool) -> int | None:
        """Label of pixels below a threshold: the vocabulary's own background, or the class of that name.

        Args:
            names: Of the classes.
            has_own: The vocabulary has a label for them, after those of the classes.

        Raises:
            ValueError: If there is a threshold, and no such label.
        """
        if has_own:
            return len(names)
        if self.prob_threshold is None and self.area_threshold is None:
            return None
        if self.background is not None:
            return self.background
        if 'background' not in names:
            raise ValueError(
                "prob_threshold and area_threshold need a class called 'background', post.background (a label), or a "
                "vocabulary with background='threshold' or 'prompts'."
            )
        return list(names).index('background')

    def along_edges(
        self, maps: ScoreMaps, placement: Placement, image: Tensor, text: Tensor
    ) -> tuple[ScoreMaps, Placement]:
        """Scores spread along edges where :attr:`propagation` says so, still on the small grid they are solved on.

        Args:
            maps: Scores of the picture's windows, of classes or names.
            placement: Where the picture lies in the input.
            image: The input, (3, H, W).
            text: Embeddings of what the scores are of.

        Returns:
            The scores, and how they come to lie over the result.
        """
        if self.propagation is None:
            return maps, placement
        how, size = Propagation(**self.propagation), placement.result_size(image)
        scores = maps.reduced(placement, lambda planes: how.in_cells(planes[None])[0])
        solved = how.solve(how.in_cells(placement.finish(image)[None]), scores[None], text)
        return ScoreMaps([solved[0]], None), Placement(how.extent(size), upper_left(size), size)

    def refine(self, scores: Tensor, image: Tensor) -> Tensor:
        """Scores after PAMR.

        Shape:
            - scores and result: :math:`(K, H, W)`; image: the picture in that size, :math:`(3, H, W)`
        """
        return scores if self.pamr is None else pamr(image[None], scores[None], **self.pamr)[0]

    def labels(self, scores: Tensor, threshold: float | None, background: int | None) -> tuple[Tensor, Tensor]:
        """Labels and scores from class probabilities (K, H, W); ``threshold`` is the vocabulary's own."""
        least = self.prob_threshold if threshold is None else threshold
        labels, scores = thresholded_labels(scores, background, least, self.area_threshold)
        if self.normalize:
            scores = scores / scores.sum(dim=0, keepdim=True).clamp_min(torch.finfo(scores.dtype).tiny)
        return labels, scores


def class_probabilities(rows: Tensor, text: TextEmbeddings, scale: float) -> Tensor:
    """Probabilities of classes from cosines of names: softmax over all names, then the best name of a class.

    Source: SCLIP's evaluation.

    Shape:
        - rows: :math:`(P, H, W)`; result: :math:`(K, H, W)`
    """
    probabilities = (rows * scale).softmax(dim=0)
    return probabilities if text.merge == 'mean' else merge_names(probabilities, text.class_index, len(text))
