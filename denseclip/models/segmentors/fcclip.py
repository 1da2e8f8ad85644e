"""FC-CLIP: one frozen CLIP trunk that proposes masks with a mask generator on top, and classifies them itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from denseclip.clip.things import ThingsLike
from denseclip.clip.vocabulary import Vocabulary, VocabularyLike
from denseclip.core.class_embeddings import ClassEmbeddings
from denseclip.core.lazy_weights import CLIPOwner
from denseclip.core.placement import Placement, pad_to_multiple, resize, size_of, whole_multiples
from denseclip.core.words import TakesWords
from denseclip.models.backbones import CLIPMaskTrunk, TrunkFeatures
from denseclip.models.builder import build_module
from denseclip.models.functional.text_logits import MAX_LOGIT_SCALE, text_logits
from denseclip.models.functional.vocabulary_ensemble import MaskProbabilities, geometric_ensemble, seen_classes
from denseclip.models.heads.mask_head import MaskHead, MaskPredictions
from denseclip.models.heads.query_guide import MayBeGuided
from denseclip.models.open_clip_parts import OpenCLIPParts, read_out_of
from denseclip.recipes import ignored_label
from denseclip.structures.active_vocabulary import ActiveVocabulary, ClassChoice
from denseclip.structures.mask_proposals import MaskProposals

from .adapts_masks import AdaptsMasks
from .choosing import ChoosesClasses, mask_scores
from .compares_pairs import ComparesPairs
from .mask_results import MaskTasks, WritesTasks
from .mask_targets import mask_targets
from .refines_regions import RefinesRegions

MULTIPLE = 32
"""Sides of the network's input are multiples of this."""


@MODELS.register_module()
class FCCLIP(
    ChoosesClasses,
    AdaptsMasks,
    RefinesRegions,
    MayBeGuided,
    ComparesPairs,
    WritesTasks,
    TakesWords,
    CLIPOwner,
    BaseSegmentor,
):
    """Open-vocabulary semantic, panoptic and instance segmentation with one frozen CLIP.

    CLIP's trunk gives the features of a mask generator and, pooled under its masks, their embeddings. A mask's class
    is the weighted geometric mean of two classifiers against the same text: the generator's own, trained on some
    classes, and CLIP's, which knows any. All names of a class have a row of their own; the best one counts.

    Pictures are padded with zeros (after normalisation) at the right and bottom to multiples of 32. The padding is no
    part of any result, but the network sees it, as in the authors' code.

    Source: FC-CLIP (Yu et al., NeurIPS 2023).

    Args:
        clip: The CLIP model: a dict with ``model`` and ``pretrained`` (and what else :class:`OpenCLIPParts` takes; or
            ``parts``, a built one), and with ``read_out`` for the last block of a vision transformer.
        head: Config of the mask generator, a :class:`MaskHead`, or the module; ``in_channels`` and ``embed_dim`` follow
            from CLIP.
        vocabulary: Classes to tell apart, anything that ``Vocabulary.of`` accepts; None waits for
            :meth:`set_vocabulary`.
        train_vocabulary: Classes of the training data, in the order of its labels. They decide which classes count as
            seen. None: training takes the present vocabulary, and no class counts as seen.
        things: Countable classes, for panoptic and instance results; see ``denseclip.clip.things``.
        templates: Set of sentences for class names.
        alpha: Weight of CLIP's classifier for classes seen in training, 0..1.
        beta: Weight of CLIP's classifier for new classes, 0..1.
        ensemble_on_valid_mask: Take the trained classifier alone for masks without a pixel at the resolution of CLIP's
            last map (the authors' setting for ResNets).
        cache_dir: Folder of the disk cache of text embeddings; None keeps them in memory only.
        data_preprocessor: MMSeg or MMDet data preprocessor; None makes one with the normalisation that CLIP needs.
        test_cfg: Arguments of :class:`MaskTasks` (``task``, ``score_threshold``, ``overlap_threshold`` ...), and
            ``active_vocabulary``, see :class:`ChoosesClasses`.
        adapter: Config of a :class:`MaskAdapter` in place of the mean under each mask, or the module; None: none. With
            one, training is the adapter's, and all else stays as it is.
        adapter_training: Arguments of :class:`AdapterTraining`.
        refinement: Arguments of :class:`RegionRefinement`: CLIP's trunk learns too; None: it is frozen.
        void_trust: How far CLIP's certainty of a class lowers the probability of "void", 0..1; see
            :func:`corrected_void`.
        init_cfg: MMEngine initialisation config.

    Attributes:
        backbone: Trunk, with CLIP's image tower.
        text: Embeddings of the present vocabulary.
        head: Mask generator.
        ensemble: Whether both classifiers tell the classes of masks, not CLIP alone.
        is_thing: Which classes of the present vocabulary are countable.
    """

    tta_model = 'ScoreAverageTTAModel'
    tower_sees_input = True
    align_corners = False
    ensemble = True
    active_scorers = ('picture', 'dense', 'mixed')
    sourced_prefixes = ('backbone.tower.', 'text.', 'clip_logit_scale')

    def __init__(
        self,
        clip: Mapping[str, Any] | OpenCLIPParts,
        head: Mapping[str, Any] | nn.Module,
        vocabulary: VocabularyLike | None = None,
        train_vocabulary: VocabularyLike | None = None,
        things: ThingsLike | None = None,
        templates: str | Sequence[str] = 'vild',
        alpha: float = 0.4,
        beta: float = 0.8,
        ensemble_on_valid_mask: bool = False,
        cache_dir: str | Path | None = None,
        data_preprocessor: Mapping[str, Any] | nn.Module | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        adapter: Mapping[str, Any] | nn.Module | None = None,
        adapter_training: Mapping[str, Any] | None = None,
        refinement: Mapping[str, Any] | None = None,
        void_trust: float = 0.0,
        init_cfg: Any = None,
    ) -> None:
        del train_cfg  # an empty entry of many configs
        settings = dict(clip) if isinstance(clip, Mapping) else {}
        read_out = read_out_of(settings.pop('read_out', None), None)
        parts = settings.pop('parts', None) or (OpenCLIPParts(**settings) if isinstance(clip, Mapping) else clip)
        learnt = vocabulary if train_vocabulary is None else train_vocabulary
        super().__init__(build_module(data_preprocessor or _preprocessor(parts, learnt)), init_cfg)
        self.own(parts)
        model: Any = parts.clip.model
        tower, text = parts.towers(CLIPMaskTrunk.read_out_for(model.visual, read_out))
        self.backbone = CLIPMaskTrunk(tower)
        self.text = ClassEmbeddings(text, templates, 'max', cache_dir, train_vocabulary)
        self.clip_logit_scale: nn.Parameter = model.logit_scale.requires_grad_(False)
        self.void_embedding = nn.Embedding(1, tower.embed_dim)
        self.head: MaskHead = head if isinstance(head, nn.Module) else self._build_head(head)  # type: ignore[assignment]
        if not 0 <= void_trust <= 1:
            raise ValueError(f'void_trust={void_trust} must be between 0 and 1.')
        if adapter is not None and refinement is not None:
            raise ValueError('a mask adapter is trained on a frozen CLIP: give adapter or refinement, not both.')
        self.alpha, self.beta, self.void_trust = alpha, beta, void_trust
        self.ensemble_on_valid_mask = ensemble_on_valid_mask
        self.test_cfg = ConfigDict(test_cfg or {})
        self.active_vocabulary = self.test_cfg.get('active_vocabulary')
        self.tasks = MaskTasks(**{k: v for k, v in self.test_cfg.items() if k != 'active_vocabulary'})
        self._things_asked_for = things
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, things)
        self.set_refinement(refinement)
        self.set_adapter(adapter, adapter_training)

    @property
    def decode_head(self) -> MaskHead:
        """The mask generator, by the name that MMSeg's hooks and tools know; in checkpoints it is ``head``."""
        return self.head

    def _build_head(self, config: Mapping[str, Any]) -> nn.Module:
        sizes = {'in_channels': self.backbone.out_channels, 'embed_dim': self.backbone.embed_dim}
        return build_module({'type': 'OpenVocabMask2FormerHead', **sizes, **config})

    def train(self, mode: bool = True) -> FCCLIP:
        """Set the mode; what is frozen stays in evaluation mode."""
        super().train(mode)
        self.train_trunk(mode)
        self.text.tower.eval()
        if self.adapter is not None:
            self.get_submodule('head').eval()
        return self

    # --- vocabulary ---------------------------------------------------------------------------------------------

    @property
    def num_classes(self) -> int:
        """Number of labels."""
        return len(self.vocabulary)

    def accept_vocabulary(self, vocabulary: Vocabulary) -> Vocabulary:
        """Refuse a background of its own: masks of no class are this model's background."""
        if vocabulary.background != 'none':
            raise ValueError(
                f"{type(self).__name__} takes no background='{vocabulary.background}'; list the background's names as "
                'a class.'
            )
        return vocabulary

    def text_rows(self) -> tuple[Tensor, Tensor]:
        """Rows that masks are compared with, and how many of them each class has.

        Returns:
            One unit-length row per name, class by class, then the row of "void", which is learnt (R + 1, D); names per
            class (K,).
        """
        self.need_weights()
        text = self.text()
        void = F.normalize(self.void_embedding.weight, dim=-1).to(text.embeddings.dtype)
        names = torch.zeros(len(text), dtype=torch.long, device=text.class_index.device)
        names.index_add_(0, text.class_index, torch.ones_like(text.class_index))
        return torch.cat([text.embeddings, void]), names

    # --- from pictures to masks ---------------------------------------------------------------------------------

    @staticmethod
    def pad(images: Tensor) -> Tensor:
        """Pad normalised pictures with zeros at the right and bottom to multiples of 32."""
        return pad_to_multiple(images, MULTIPLE)

    def extract_feat(self, inputs: Tensor) -> TrunkFeatures:
        """Run the trunk on padded pictures (N, 3, H, W)."""
        self.need_weights()
        return self.backbone(self.pad(inputs))

    def generate(
        self, features: TrunkFeatures, samples: Sequence[Any] | None, all_layers: bool | None = None
    ) -> MaskPredictions:
        """Run the mask generator."""
        guide = self.query_guide(features.last.shape[0], samples)
        pixels = self.head.pixel_features(features.stages)
        return self.head.decode(pixels, *self.text_rows(), guide=guide, all_layers=all_layers)

    def propose(self, features: TrunkFeatures, samples: Sequence[Any] | None = None) -> MaskProposals:
        """Masks of pictures with the embeddings of the trained classifier.

        Args:
            features: Of the trunk.
            samples: Data samples of the pictures.
        """
        return self.generate(features, samples, all_layers=False).proposals

    def clip_logits(self, features: TrunkFeatures, mask_logits: Tensor) -> Tensor:
        """Class logits of CLIP for masks, "void" last, (N, Q, K + 1)."""
        return self.logits_of_masks(features, mask_logits, *self.clip_rows(features))

    def logits_of_masks(self, features: TrunkFeatures, mask_logits: Tensor, rows: Tensor, names: Tensor) -> Tensor:
        """The same against given text rows; the likeliest are compared again where the words tell pairs apart."""
        embeddings = self.embed_masks(features, mask_logits)
        logits = text_logits(embeddings, rows, names, self.clip_logit_scale)
        return self.compare_pairs(logits, embeddings, self.clip_logit_scale.exp().clamp(max=MAX_LOGIT_SCALE))

    def trained_logits(self, proposals: MaskProposals) -> Tensor:
        """Class logits of the trained classifier for masks, "void" last, (N, Q, K + 1)."""
        assert proposals.class_embeddings is not None
        return text_logits(proposals.class_embeddings, *self.text_rows(), self.head.logit_scale)

    def classify(self, features: TrunkFeatures, proposals: MaskProposals) -> MaskProbabilities:
        """Classes of masks, whatever made them.

        Args:
            features: Of the trunk.
            proposals: Masks with class embeddings, any number of them.

        Returns:
            Probabilities of the classes (N, Q, K) and of "void" (N, Q).
        """
        valid = None
        if self.ensemble_on_valid_mask:
            valid = (self.backbone.masks_at(features, proposals.mask_logits) > 0).flatten(2).any(dim=-1)
        trained = () if self.train_vocabulary is None else self.train_vocabulary.name_groups
        names = tuple(name for group in trained for name in group)
        return geometric_ensemble(
            self.trained_logits(proposals),
            self.clip_logits(features, proposals.mask_logits),
            seen_classes(self.vocabulary.name_groups, names),
            self.alpha,
            self.beta,
            valid,
            self.void_trust,
        )

    # --- MMSeg's entrances --------------------------------------------------------------------------------------

    def predict(self, inputs: Tensor, data_samples: list[Any] | None = None) -> list[Any]:
        """Segment a batch.

        Args:
            inputs: Preprocessed pictures, (N, 3, H, W).
            data_samples: Their meta information; without it results have the input's size.

        Returns:
            Data samples with the results of the tasks, see :meth:`MaskTasks.write`.
        """
        samples = data_samples or [SegDataSample() for _ in inputs]
        features = self.extract_feat(inputs)
        proposals = self.propose(features, samples)
        found = self.classify(features, proposals)
        pictures = self._picture_logits(features, proposals)
        padded = whole_multiples(size_of(inputs), MULTIPLE)
        for n, sample in enumerate(samples):
            placement = Placement.of(sample.metainfo, size_of(inputs), padded)
            masks, probabilities = proposals.mask_logits[n], found.class_probs[n]
            choice = self._choice(probabilities, masks, None if pictures is None else pictures[n])
            self.tasks.write(sample, probabilities, masks, placement, self.is_thing, found.no_object[n], choice)
        return samples

    def check_active(self, active: ActiveVocabulary) -> None:
        """See :meth:`ChoosesClasses.check_active`; there are no windows here."""
        super().check_active(active)
        if active.per == 'window':
            raise ValueError(
                f"active_vocabulary: {type(self).__name__} has no sliding windows; leave per='window' out."
            )

    def _picture_logits(self, features: TrunkFeatures, proposals: MaskProposals) -> Tensor | None:
        """CLIP's class logits of whole pictures (N, K), as those of a mask over all of it; None: nobody asks."""
        if self._active is None or self.offered is not None or self._active.scorer == 'dense':
            return None
        everywhere = torch.full_like(proposals.mask_logits[:, :1], 20.0)
        return self.clip_logits(features, everywhere)[:, 0, :-1]

    def _choice(self, probabilities: Tensor, mask_logits: Tensor, picture: Tensor | None) -> ClassChoice | None:
        """The classes of a picture that take part; None: all."""
        given, active = self.given_choice(probabilities.device), self._active
        if given is not None or active is None:
            return given
        dense = probabilities * mask_logits.flatten(1).amax(dim=1, keepdim=True).sigmoid()
        scores = mask_scores(active.scorer, picture, dense.amax(dim=0))
        return ClassChoice(active.scorer, active.keep(scores), scores)

    def loss(self, inputs: Tensor, data_samples: list[Any]) -> dict[str, Tensor]:
        """Losses of the mask generator and of what else is trained with it, or those of the adapter.

        Args:
            inputs: Preprocessed pictures (N, 3, H, W).
            data_samples: With ``gt_sem_seg`` or ``gt_instances``, see :func:`mask_targets`.
        """
        with self.text.training_words():
            if self.adapter is not None:
                return self.adapter_losses(inputs, data_samples)
            return self._losses(inputs, data_samples)

    def _losses(self, inputs: Tensor, data_samples: list[Any]) -> dict[str, Tensor]:
        """Losses of what is trained where there is no adapter."""
        features = self.extract_feat(inputs)
        predictions = self.generate(features, data_samples, all_layers=True)
        return self.generator_losses(features, predictions, self._targets(inputs, data_samples))

    def _targets(self, inputs: Tensor, samples: Sequence[Any]) -> list[Any]:
        """Segments of the pictures, of the padded size."""
        size = whole_multiples(size_of(inputs), MULTIPLE)
        return mask_targets(samples, len(self.text.names), size, inputs.device)

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> MaskProbabilities:
        """Classes of the masks, see :meth:`classify`."""
        features = self.extract_feat(inputs)
        return self.classify(features, self.propose(features, data_samples))

    def encode_decode(self, inputs: Tensor, batch_data_samples: Any = None) -> Tensor:
        """Class scores (N, K, H, W) of whole pictures in their size."""
        from denseclip.models.functional.mask_inference import semantic_scores

        features = self.extract_feat(inputs)
        proposals = self.propose(features, batch_data_samples)
        masks = resize(proposals.mask_logits, whole_multiples(size_of(inputs), MULTIPLE))
        scores = semantic_scores(self.classify(features, proposals).class_probs, masks)
        return scores[:, :, : inputs.shape[2], : inputs.shape[3]]


def _preprocessor(parts: OpenCLIPParts, learnt: VocabularyLike | None) -> dict[str, Any]:
    """Data preprocessor of a CLIP model: its normalisation, then zeros up to multiples of 32, ignored."""
    count = 0 if learnt is None else len(Vocabulary.of(learnt).classes)
    return dict(
        type='SegDataPreProcessor',
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=ignored_label(count),
        size_divisor=MULTIPLE,
        **parts.clip.preprocess.as_255(),
    )
