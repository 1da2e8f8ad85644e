"""Two-stage open-vocabulary segmentation: masks from anywhere, then words for each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from denseclip.clip.towers import DenseReadOut
from denseclip.clip.vocabulary import Vocabulary, VocabularyLike
from denseclip.core.class_embeddings import ClassEmbeddings
from denseclip.core.lazy_weights import CLIPOwner
from denseclip.core.placement import Placement, size_of, whole_multiples
from denseclip.core.precision import full_precision
from denseclip.core.words import TakesWords
from denseclip.models.builder import build_module
from denseclip.models.functional.ensemble import STAGES, Stages
from denseclip.models.functional.text_logits import merge_synonyms
from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.models.region_classifier import RegionClassifier, RegionEmbeddings
from denseclip.models.unsaved import leave_out_of_checkpoints
from denseclip.structures.active_vocabulary import ActiveVocabulary, ClassChoice
from denseclip.structures.mask_proposals import MaskProposals

from .choosing import ChoosesClasses, mask_scores
from .compares_pairs import ComparesPairs
from .label_inference import LabelMapInference
from .two_stage_results import SELECTIONS, MaskClasses, TwoStageResults

OTHERS = 'others'
"""What a single class name is told apart from."""
_NOWHERE = -12.0  # logit of a mask that has no pixel


@MODELS.register_module()
class TwoStageSegmentor(ChoosesClasses, ComparesPairs, LabelMapInference, TakesWords, CLIPOwner, BaseSegmentor):
    """Masks from a proposer, classified by CLIP on pictures of them and, if they bring embeddings, by those.

    With a proposer that knows nothing about classes (superpixels, Segment Anything, a detector, files) nothing has to
    be trained. OVSeg is the subclass that makes its own masks: it overrides :meth:`propose`, :meth:`no_object_row` and
    :meth:`loss`.

    Source: OVSeg (Liang et al., CVPR 2023).

    Args:
        clip: The CLIP model: settings of :class:`OpenCLIPParts`, or a built one. Weights are read at the first use,
            unless a checkpoint brought them.
        vocabulary: Anything that ``Vocabulary.of`` accepts; None waits for :meth:`set_vocabulary`.
        templates: Set of sentences for class names.
        merge: ``'mean'`` of a class's names, or ``'max'`` of their logits.
        region_classifier: Settings of :class:`RegionClassifier` (its CLIP is that of this model), or a built one;
            None: the first stage alone, and no image tower of CLIP.
        ensemble_weight: Weight of the second stage, 0..1. The paper takes 0.7 (ADE20K), 0.6 (Pascal Context) and 0.45
            (Pascal VOC).
        stages: ``'both'``, ``'first'`` or ``'second'`` alone.
        proposer: Where masks come from: a ``MaskProposer`` or its config.
        selection: ``'all'`` masks add up, as in evaluation; ``'best'``: the best mask of each class only, and pixels in
            none of them stay blank, as in OVSeg's demonstration.
        scale: Factor of the cosines before a softmax.
        cache_dir: Folder of the disk cache of text embeddings; None keeps them in memory only.
        data_preprocessor: MMSeg data preprocessor; None makes one with the normalisation that CLIP needs.
        train_cfg: Not used.
        test_cfg: ``mode`` (``'whole'``, or ``'slide'`` with ``crop_size`` and ``stride``), ``keep_logits`` and, for
            whole pictures, ``active_vocabulary`` (see :class:`ChoosesClasses`).
        init_cfg: MMEngine initialisation config.
        train_vocabulary: Classes of the first stage's training, for subclasses that have one.

    Attributes:
        text: Class embeddings.
        region_classifier: The second stage, or None.
    """

    tta_model = 'ScoreAverageTTAModel'
    background_of_masks = True
    align_corners = False
    active_scorers = ('picture', 'dense', 'mixed')
    _clip_is_own = False
    weights_named_by: tuple[str, ...] = ('clip', 'proposer')
    size_divisor = 1
    """Masks cover the input padded at the right and bottom to multiples of this."""

    def __init__(
        self,
        clip: Mapping[str, Any] | OpenCLIPParts,
        vocabulary: VocabularyLike | None = None,
        templates: str | Sequence[str] = 'vild',
        merge: str = 'mean',
        region_classifier: Mapping[str, Any] | RegionClassifier | None = None,
        ensemble_weight: float = 0.7,
        stages: Stages = 'both',
        proposer: Any = None,
        selection: str = 'all',
        scale: float = 100.0,
        cache_dir: str | Path | None = None,
        data_preprocessor: Mapping[str, Any] | nn.Module | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        init_cfg: Any = None,
        train_vocabulary: VocabularyLike | None = None,
    ) -> None:
        del train_cfg  # an empty entry of many configs
        parts = OpenCLIPParts(**clip) if isinstance(clip, Mapping) else clip
        if data_preprocessor is None:
            spec = parts.clip.preprocess.as_255()
            data_preprocessor = {'type': 'SegDataPreProcessor', 'bgr_to_rgb': True, 'pad_val': 0, **spec}
        super().__init__(data_preprocessor=build_module(data_preprocessor), init_cfg=init_cfg)
        if stages not in STAGES or selection not in SELECTIONS:
            raise ValueError(
                f"stages='{stages}' must be one of {', '.join(STAGES)}, selection='{selection}' of "
                f'{", ".join(SELECTIONS)}.'
            )
        self.own(parts)
        self.scale, self.selection = scale, selection
        self.ensemble_weight, self.stages = ensemble_weight, stages
        self.region_classifier: RegionClassifier | None = None
        if region_classifier is not None:
            self.region_classifier = _build_classifier(region_classifier, clip, parts).eval().requires_grad_(False)
        elif stages == 'second':
            raise ValueError("stages='second' needs a region_classifier.")
        tower = parts.towers(DenseReadOut(dense=False))[1]
        self.text = ClassEmbeddings(tower, templates, merge, cache_dir, train_vocabulary)
        self.proposer = build_module(proposer) if isinstance(proposer, Mapping) else proposer
        self.test_cfg = ConfigDict({'mode': 'whole', **(test_cfg or {})})
        if self.test_cfg.get('refine') is not None:
            raise ValueError(f'{type(self).__name__} runs all windows: leave test_cfg.refine out.')
        self.keep_logits = bool(self.test_cfg.get('keep_logits', False))
        self.active_vocabulary = self.test_cfg.get('active_vocabulary')
        leave_out_of_checkpoints(self)
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)

    # --- weights ------------------------------------------------------------------------------------------------

    @property
    def sourced_prefixes(self) -> tuple[str, ...]:  # type: ignore[override]
        """CLIP's part of the state dict, with the mask prompts that came along."""
        prompts = self.region_classifier is None or self.region_classifier.prompts_have_source
        return ('text.', 'region_classifier.' if prompts else 'region_classifier.tower.')

    @property
    def not_saved_prefixes(self) -> tuple[str, ...]:
        """CLIP's part of the state dict, while it comes from a source of its own."""
        prompts_lost = self.region_classifier is not None and not self.region_classifier.prompts_have_source
        own = self._clip_is_own or self.brought_by_checkpoint
        return () if own or not self.parts.has_source or prompts_lost else ('text.', 'region_classifier.')

    def forget_pretrained(self) -> None:
        """Keep the present weights, whatever the config names."""
        super().forget_pretrained()
        self._clip_is_own = True

    def train(self, mode: bool = True) -> TwoStageSegmentor:
        """Set the mode; CLIP stays in evaluation mode."""
        super().train(mode)
        self.text.tower.eval()
        if self.region_classifier is not None:
            self.region_classifier.eval()
        return self

    # --- vocabulary ---------------------------------------------------------------------------------------------

    @property
    def num_classes(self) -> int:
        """Number of labels, the background included where the vocabulary has one."""
        return len(self.vocabulary) + (self.vocabulary.background != 'none')

    def accept_vocabulary(self, vocabulary: Vocabulary) -> Vocabulary:
        """With ``selection='best'`` every vocabulary gets a background, for pixels that nothing fits.

        A single class is then told apart from "others". ``background='learned'`` means pixels that no mask covers.

        Raises:
            ValueError: If it has a threshold: scores of masks add up, so none fits all pictures. Or one that looks at
                embeddings of pixels.
        """
        if vocabulary.background in ('threshold', 'clipn', 'gda'):
            raise ValueError(
                f"{type(self).__name__} has no background='{vocabulary.background}'; use 'learned' (pixels in no mask "
                "stay blank), 'prompts' or 'none'."
            )
        if self.selection == 'best' and vocabulary.background == 'none':
            alone = {'background': 'prompts', 'background_names': (OTHERS,)}
            blank = {'background': 'learned'}
            return replace(vocabulary, **(alone if len(vocabulary) == 1 else blank))
        return vocabulary

    def label_names(self) -> tuple[str, ...]:
        """Class names, and the background where it has a label."""
        return self.text.names + (('background',) if self.vocabulary.background == 'learned' else ())

    def no_object_row(self) -> Tensor | None:
        """Unit-length embedding of "no object" (1, E); None: masks always are of some class."""
        return None

    def text_rows(self) -> tuple[Tensor, Tensor]:
        """Rows that masks are compared with, and how many of them each class has.

        Returns:
            One unit-length row per class or name, class by class, then that of "no object" if there is one (R, E);
            rows per class (K,).
        """
        self.need_weights()
        text = self.text()
        count = torch.zeros(len(text), dtype=torch.long, device=text.class_index.device)
        count.index_add_(0, text.class_index, torch.ones_like(text.class_index))
        extra = self.no_object_row()
        rows = text.embeddings if extra is None else torch.cat([text.embeddings, extra.to(text.embeddings.dtype)])
        return rows, count

    # --- from pictures to classes of masks ----------------------------------------------------------------------

    def propose(self, inputs: Tensor, samples: Sequence[Any] | None = None) -> MaskProposals:
        """Masks of a batch, over the input padded to multiples of :attr:`size_divisor`.

        Args:
            inputs: Preprocessed pictures (N, 3, H, W).
            samples: Their data samples.
        """
        if self.proposer is None:
            raise ValueError(
                f'{type(self).__name__} has nothing that finds masks: give proposer= (denseclip.models.proposers), or '
                'use OVSeg with a trained mask generator.'
            )
        metas = [getattr(sample, 'metainfo', {}) for sample in samples or [None] * len(inputs)]
        return self.proposer(self.colours(inputs), metas)

    def colours(self, inputs: Tensor) -> Tensor:
        """Preprocessed pictures as RGB in 0..255 again."""
        prepare: Any = self.data_preprocessor
        if not getattr(prepare, '_enable_normalize', False):
            return inputs
        return inputs * prepare.std.to(inputs) + prepare.mean.to(inputs)

    def class_logits(self, embeddings: Tensor) -> Tensor:
        """Logits of classes for embeddings of masks, "no object" last if there is a row for it, in float32.

        Shape:
            - embeddings: :math:`(..., Q, E)`, of any length; result: :math:`(..., Q, K)` or :math:`(..., Q, K + 1)`
        """
        rows, count = self.text_rows()
        with full_precision(embeddings.device.type):
            logits = self.scale * F.normalize(embeddings.float(), dim=-1) @ rows.float().T
            names = self.text.num_rows
            return torch.cat([merge_synonyms(logits[..., :names], count), logits[..., names:]], dim=-1)

    def embed_regions(self, image: Tensor, masks: Tensor, scores: Tensor | None = None) -> RegionEmbeddings:
        """What the second stage sees.

        Args:
            image: RGB in 0..255, without padding.
            masks: Mask probabilities in the picture's size.
            scores: Of the masks.

        Shape:
            - image: :math:`(3, H, W)`; masks: :math:`(Q, H, W)`
        """
        assert self.region_classifier is not None
        self.need_weights()
        return self.region_classifier(image, masks, scores)

    def classify(self, image: Tensor, masks: Tensor, embeddings: Tensor | None, scores: Tensor | None) -> MaskClasses:
        """Classes of the masks of one picture; the likeliest are compared again where the words tell pairs apart.

        Args:
            image: RGB in 0..255, without padding.
            masks: Mask probabilities in the picture's size.
            embeddings: Class embeddings of the first stage.
            scores: Of the masks.

        Shape:
            - image: :math:`(3, H, W)`; masks: :math:`(Q, H, W)`; embeddings: :math:`(Q, E)`; scores: :math:`(Q,)`
        """
        classes = len(self.text.names)
        first = second = None
        if embeddings is not None:
            logits = self.compare_pairs(self.class_logits(embeddings), embeddings, self.scale)
            first = logits.log_softmax(dim=-1)[:, :classes]
        valid = torch.ones(len(masks), dtype=torch.bool, device=masks.device)
        if self.region_classifier is not None and self.stages != 'first':
            regions = self.embed_regions(image, masks, scores)
            logits = self.class_logits(regions.embeddings)[:, :classes]
            second = self.compare_pairs(logits, regions.embeddings, self.scale).log_softmax(dim=-1)
            valid = regions.valid
        return MaskClasses.of(first, second, valid, self.ensemble_weight, self.stages)

    # --- MMSeg's entrances --------------------------------------------------------------------------------------

    def predict(self, inputs: Tensor, data_samples: list[Any] | None = None) -> list[Any]:
        """Segment a batch.

        Args:
            inputs: Preprocessed pictures, (N, 3, H, W).
            data_samples: Their meta information; without it results have the input's size.

        Returns:
            Data samples with ``pred_sem_seg`` (1, H, W); with ``keep_logits``, ``seg_logits`` (K, H, W); with
            ``selection='best'``, ``mask_classes``, see :class:`TwoStageResults`. In sliding mode the best masks are
            those of each window, and there are no ``mask_classes``.
        """
        samples = data_samples or [SegDataSample() for _ in inputs]
        scored = self.keep_logits or any(s.metainfo.get('flip') for s in samples)
        slide = self.test_cfg.mode == 'slide'
        if slide:
            for sample, scores in zip(samples, self.slide_inference(inputs, []), strict=True):
                placement = self._placement(sample, inputs)
                given = self.given_choice(inputs.device)
                self._results(placement.from_picture(), given).write_scores(sample, placement.cut(scores), scored)
            return samples
        for sample, found in zip(samples, self._masks_of(inputs, samples), strict=True):
            placement, picture, masks, classes = found
            choice = self._choice(picture, masks, classes)
            self._results(placement.from_picture(), choice).write(sample, classes, masks, scored)
        return samples

    def _masks_of(
        self, inputs: Tensor, samples: Sequence[Any]
    ) -> Iterator[tuple[Placement, Tensor, Tensor, MaskClasses]]:
        """Of each picture in turn: placement; colours, and mask probabilities, without padding; and their classes."""
        proposals = _at_least_one(self.propose(inputs, samples))
        pictures = self.colours(inputs)
        for n, sample in enumerate(samples):
            placement = self._placement(sample, inputs)
            picture = placement.cut(pictures[n])
            masks = placement.cut(placement.enlarge(proposals.mask_logits[n])).sigmoid()
            embeddings, scores = (
                None if value is None else value[n] for value in (proposals.class_embeddings, proposals.scores)
            )
            yield placement, picture, masks, self.classify(picture, masks, embeddings, scores)

    def _placement(self, sample: Any, inputs: Tensor) -> Placement:
        return Placement.of(sample.metainfo, size_of(inputs), whole_multiples(size_of(inputs), self.size_divisor))

    def check_active(self, active: ActiveVocabulary) -> None:
        """See :meth:`ChoosesClasses.check_active`; the whole picture is looked at as a mask over all of it."""
        super().check_active(active)
        if self.region_classifier is None and active.scorer != 'dense':
            raise ValueError(f"active_vocabulary: '{active.scorer}' needs a region_classifier; choose by 'dense'.")
        if self.test_cfg.mode == 'slide' or active.per == 'window':
            raise ValueError(f'active_vocabulary: {type(self).__name__} chooses for whole pictures, not for windows.')

    def _choice(self, image: Tensor, masks: Tensor, classes: MaskClasses) -> ClassChoice | None:
        """The classes of a picture that take part; None: all."""
        given, active = self.given_choice(image.device), self._active
        if given is not None or active is None:
            return given
        picture = None
        if active.scorer != 'dense':
            everywhere = torch.ones_like(masks[:1])
            picture = self.class_logits(self.embed_regions(image, everywhere).embeddings)[0, : len(self.text.names)]
        filled = masks.flatten(1).amax(dim=1) > 0.5
        scores = mask_scores(active.scorer, picture, (classes.scores * filled[:, None]).amax(dim=0))
        always = len(self.vocabulary) if self.vocabulary.background_names else None
        return ClassChoice(active.scorer, active.keep(scores), scores).with_class(always)

    def _results(self, placement: Placement, choice: ClassChoice | None = None) -> TwoStageResults:
        threshold = self.region_classifier.threshold if self.region_classifier is not None else 0.5
        return TwoStageResults(self.vocabulary, self.selection, threshold, placement, self.score_request, choice)

    def num_channels(self) -> int:
        """Number of class planes."""
        return len(self.text.names)

    def head_logits(self, inputs: Tensor) -> Tensor:
        """Class scores (N, K, H, W) in the size of the input; zero where the vocabulary's background is."""
        samples = [SegDataSample() for _ in inputs]
        found = self._masks_of(inputs, samples)
        return torch.stack([self._results(Placement()).planes(classes, masks) for _, _, masks, classes in found])

    def encode_decode(self, inputs: Tensor, batch_data_samples: Any = None) -> Tensor:
        """See :meth:`head_logits`."""
        del batch_data_samples
        return self.head_logits(inputs)

    def extract_feat(self, inputs: Tensor) -> MaskProposals:
        """See :meth:`propose`."""
        return self.propose(inputs)

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> Tensor:
        """See :meth:`head_logits`."""
        del data_samples
        return self.head_logits(inputs)

    def loss(self, inputs: Tensor, data_samples: Any) -> dict[str, Tensor]:
        """Nothing is learned here."""
        raise NotImplementedError(
            f'{type(self).__name__} is used as it is. OVSeg trains a mask generator (configs/ovseg); '
            'MaskAdaptedCLIP adapts CLIP to masks.'
        )


def _at_least_one(proposals: MaskProposals) -> MaskProposals:
    """The same proposals; where there are none, one mask without a pixel, which nothing counts."""
    logits, embeddings, scores = proposals.mask_logits, proposals.class_embeddings, proposals.scores
    if logits.shape[1]:
        return proposals
    return MaskProposals(
        F.pad(logits, (0, 0, 0, 0, 0, 1), value=_NOWHERE),
        None if embeddings is None else F.pad(embeddings, (0, 0, 0, 1)),
        None if scores is None else F.pad(scores, (0, 1)),
    )


def _build_classifier(spec: Mapping[str, Any] | RegionClassifier, clip: Any, parts: OpenCLIPParts) -> Any:
    if isinstance(spec, nn.Module):
        return spec
    other = spec.get('clip')
    if other is not None and other is not parts and _settings(other) != _settings(clip):
        raise ValueError(
            f'region_classifier.clip={other} is not clip={clip} of the model, whose text it is compared with: leave '
            'it out, and give the adapted CLIP as clip=.'
        )
    return build_module({'type': 'RegionClassifier', **spec, 'clip': parts})


def _settings(clip: Any) -> Any:
    return {'pretrained': None, **clip} if isinstance(clip, Mapping) else clip
