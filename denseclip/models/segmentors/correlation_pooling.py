"""Dense CLIP whose features are pooled along correlations, with a background from a foreground map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.registry import MODELS
from torch import Tensor, nn

from denseclip.clip.towers import DenseReadOut, TowerOutput
from denseclip.clip.vocabulary import Vocabulary, VocabularyLike
from denseclip.models.builder import build_module
from denseclip.models.functional.background import assign_background
from denseclip.models.functional.pictures import denormalize_pictures
from denseclip.models.functional.pooling import correlation_pool, suppress_weak
from denseclip.models.open_clip_parts import read_out_of

from .open_vocab import OpenVocabularySegmentor

BACKGROUND = 'background'
PRESET = 'dinoiser'


@dataclass
class Guidance:
    """What is known about a batch of pictures beside CLIP's features.

    Attributes:
        correlation: Cosines between places, before any threshold, (N, hw, h, w).
        foreground: Foreground probabilities in [0, 1], (N, 1, h, w).
    """

    correlation: Tensor
    foreground: Tensor


class CorrelationPoolingSegmentor(OpenVocabularySegmentor):
    """Base of CLIP-DINOiser and its teacher variant; subclasses say where the guidance comes from.

    Args:
        clip: See :class:`OpenVocabularySegmentor`. The read-out is MaskCLIP's unless another is named.
        vocabulary: See there. With ``background_rule`` one class must be called "background".
        gamma: Correlations below it do not count; None keeps all, negative ones included.
        delta: Places whose best class is less probable may become background, in [0, 1].
        background_rule: Give "background" probability 1 where no class is sure and nothing stands in the foreground
            (the published protocol of VOC21 and COCO-Object; off for all other sets).
        foreground_threshold: Foreground probability above which something stands there.
        kwargs: Further arguments of :class:`OpenVocabularySegmentor`.
    """

    def __init__(
        self,
        clip: Mapping[str, Any] | Any,
        vocabulary: VocabularyLike | None = None,
        *,
        gamma: float | None = 0.2,
        delta: float = 0.99,
        background_rule: bool = False,
        foreground_threshold: float = 0.5,
        **kwargs: Any,
    ) -> None:
        if kwargs.get('output', 'probabilities') != 'probabilities' and background_rule:
            raise ValueError("background_rule=True needs output='probabilities': delta is a probability.")
        if isinstance(clip, Mapping) and not ({'preset', 'read_out'} & set(clip)):
            clip = {**clip, 'preset': PRESET}
        self._without_read_out = not isinstance(clip, Mapping)  # before the base class asks for the read-out
        super().__init__(clip, **kwargs)
        self.gamma, self.delta = gamma, delta
        self.background_rule, self.foreground_threshold = background_rule, foreground_threshold
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)

    def adapt_read_out(self, read_out: DenseReadOut) -> DenseReadOut:
        """MaskCLIP's read-out where a built CLIP model came without one."""
        return read_out_of(None, PRESET) if self._without_read_out else read_out

    # --- vocabulary ---------------------------------------------------------------------------------------------

    def accept_vocabulary(self, vocabulary: Vocabulary) -> Vocabulary:
        """See :meth:`OpenVocabularySegmentor.accept_vocabulary`; ``background_rule`` needs a class "background"."""
        self._check_background(vocabulary)
        return super().accept_vocabulary(vocabulary)

    def _check_background(self, vocabulary: Vocabulary) -> None:
        if self.background_rule and BACKGROUND not in vocabulary.names and not vocabulary.background_names:
            raise ValueError(
                f"background_rule=True needs a class called 'background', but the vocabulary is "
                f'{", ".join(vocabulary.names[:6])} ...: add one (the published lists have it first), or set '
                'background_rule=False.'
            )

    # --- from pictures to scores --------------------------------------------------------------------------------

    def guidance(self, images: Tensor, out: TowerOutput) -> Guidance:
        """Correlations and foreground of a batch.

        Args:
            images: Normalised pictures (N, 3, H, W), padded to whole patches.
            out: What the image tower says about them.
        """
        raise NotImplementedError

    def pictures(self, images: Tensor) -> Tensor:
        """Normalised pictures, padded with black to whole patches, as RGB in [0, 1]."""
        return denormalize_pictures(self.pad(images), self.tower.preprocess)

    def pool(self, features: Tensor, correlation: Tensor) -> Tensor:
        """Features pooled along the correlations that count.

        Shape:
            - features: :math:`(N, E, h, w)`; correlation: :math:`(N, hw, h, w)`; result: :math:`(N, E, h, w)`
        """
        return correlation_pool(features, suppress_weak(correlation, self.gamma))

    def dense_features(self, images: Tensor) -> Tensor:
        """Pooled pixel embeddings in the joint space, not normalised, (N, E, h, w)."""
        out = self.read(images)
        assert out.dense is not None
        return self.pool(out.dense, self.guidance(self.pad(images), out).correlation)

    def head_logits(self, images: Tensor) -> Tensor:
        """Class probabilities at the resolution of the patches, (N, K, h, w), in one pass through CLIP."""
        out = self.read(images)
        assert out.dense is not None
        guidance = self.guidance(self.pad(images), out)
        scores = self.class_scores(self.pool(out.dense, guidance.correlation), out.keys, out.pooled)
        if not self.background_rule:
            return scores
        foreground = guidance.foreground > self.foreground_threshold
        return assign_background(scores, foreground, self.delta, self.text.names.index(BACKGROUND))


@MODELS.register_module()
class DinoCLIP(CorrelationPoolingSegmentor):
    """MaskCLIP pooled along DINO's own correlations, with FOUND's own foreground: nothing is trained.

    Source: the teacher variant of CLIP-DINOiser (Wysoczańska et al., ECCV 2024), section 3.2.

    Args:
        clip: See :class:`CorrelationPoolingSegmentor`.
        correlation_teacher: DINO, ``dict(type='DINOTeacher', ...)``.
        foreground_teacher: FOUND, ``dict(type='FOUNDTeacher', ...)``; only the background rule needs it.
        kwargs: Further arguments of :class:`CorrelationPoolingSegmentor`.

    Raises:
        ValueError: If the background rule has no foreground teacher.
    """

    def __init__(
        self,
        clip: Mapping[str, Any] | Any,
        correlation_teacher: Mapping[str, Any] | nn.Module,
        foreground_teacher: Mapping[str, Any] | nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(clip, **kwargs)
        if self.background_rule and foreground_teacher is None:
            raise ValueError('background_rule=True needs a foreground_teacher.')
        self.correlation_teacher = build_module(correlation_teacher)
        self.foreground_teacher = None if foreground_teacher is None else build_module(foreground_teacher)

    def guidance(self, images: Tensor, out: TowerOutput) -> Guidance:
        """What the teachers say."""
        assert out.grid is not None
        pictures = self.pictures(images)
        correlation = self.correlation_teacher(pictures, out.grid)
        if self.foreground_teacher is None:
            return Guidance(correlation, correlation.new_ones(images.shape[0], 1, *out.grid))
        return Guidance(correlation, self.foreground_teacher(pictures, out.grid))
