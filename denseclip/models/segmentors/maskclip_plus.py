"""MaskCLIP+: an ordinary segmentation network taught by MaskCLIP's labels (Zhou et al., ECCV 2022, section 3.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.models.segmentors.encoder_decoder import EncoderDecoder
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from torch import Tensor, nn

from denseclip.clip.vocabulary import Vocabulary, VocabularyLike
from denseclip.core.class_embeddings import ClassEmbeddings
from denseclip.core.words import TakesWords
from denseclip.models.builder import build_module
from denseclip.models.functional.pictures import normalize_pictures
from denseclip.models.functional.pseudo_labels import UNLABELLED, feature_distillation_loss, fill_unlabelled
from denseclip.models.heads.maskclip_plus import MaskCLIPPlusHead
from denseclip.models.unsaved import leave_out_of_checkpoints
from denseclip.recipes import ignored_label

from .label_inference import LabelMapInference
from .open_vocab import OpenVocabularySegmentor


@MODELS.register_module()
class MaskCLIPPlus(TakesWords, LabelMapInference, EncoderDecoder):
    """A student that learns the pseudo-labels of a frozen MaskCLIP, and later its own.

    Pixels labelled -1 (``SuppressLabels`` in the pipeline: all of them without annotations, those of the unseen classes
    in the zero-shot setting) get the class of the teacher's best score. Once ``self_training`` is set
    (``SelfTrainingHook``) they get the student's own best class instead. The student's classifier is CLIP's text.

    Args:
        backbone: MMSeg backbone of the student.
        decode_head: ``MaskCLIPPlusHead``; ``embed_dim`` is the size of the teacher's joint space.
        teacher: ``OpenVocabularySegmentor``, usually the preset ``maskclip_orig`` with its refinements. Its text is
            the student's classifier.
        vocabulary: Anything that ``Vocabulary.of`` accepts.
        unseen: Class ids that pseudo-labels may have (zero-shot setting); None: all.
        pseudo_labels: False when all labels are given and only features are distilled.
        distillation: Weight of the L1 loss between features; 0 leaves it out.
        distilled_pixels: Where features are compared: ``'labelled'``: wherever the ground truth is not "ignore", the
            authors' ``distill_labeled=True``; ``'unlabelled'``: where it is -1.
        shared_input: Feed the teacher the student's normalised pictures, as the authors did (ImageNet's mean and std
            for CLIP's weights too), instead of what its own weights expect.
        data_preprocessor: MMSeg data preprocessor of the student.
        train_cfg: MMSeg training config.
        test_cfg: See :class:`LabelMapInference`.
        init_cfg: MMEngine initialisation config.

    Attributes:
        self_training: Whether pseudo-labels come from the student.
    """

    decode_head: MaskCLIPPlusHead
    teacher: OpenVocabularySegmentor

    def __init__(
        self,
        backbone: Mapping[str, Any] | nn.Module,
        decode_head: Mapping[str, Any] | nn.Module,
        teacher: Mapping[str, Any] | nn.Module,
        vocabulary: VocabularyLike,
        unseen: Sequence[int] | None = None,
        pseudo_labels: bool = True,
        distillation: float = 0.0,
        distilled_pixels: str = 'labelled',
        shared_input: bool = False,
        data_preprocessor: Mapping[str, Any] | nn.Module | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        init_cfg: Any = None,
    ) -> None:
        # EncoderDecoder's own constructor takes configs only; its base takes what is common to both ways of building.
        super(EncoderDecoder, self).__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone = build_module(backbone)
        self.decode_head = build_module(decode_head)
        self.teacher = build_module(teacher)
        self.teacher.eval().requires_grad_(False)
        self.align_corners = self.decode_head.align_corners
        self.train_cfg = ConfigDict(train_cfg or {})
        self.test_cfg = ConfigDict({'mode': 'whole', **(test_cfg or {})})
        self.keep_logits = bool(self.test_cfg.get('keep_logits', False))
        self.unseen = None if unseen is None else tuple(unseen)
        self.pseudo_labels, self.distillation, self.shared_input = pseudo_labels, distillation, shared_input
        if distilled_pixels not in ('labelled', 'unlabelled'):
            raise ValueError(f"distilled_pixels='{distilled_pixels}' is unknown; choose from labelled, unlabelled.")
        self.distilled_pixels = distilled_pixels
        self.self_training = False
        leave_out_of_checkpoints(self)
        if self.decode_head.channels != self.teacher.tower.embed_dim:
            raise ValueError(
                f'decode_head.embed_dim is {self.decode_head.channels}, but the joint space of the teacher has '
                f'{self.teacher.tower.embed_dim} dimensions: set it to that.'
            )
        self.set_vocabulary(vocabulary)

    @property
    def not_saved_prefixes(self) -> tuple[str, ...]:
        """The teacher is left out of checkpoints where it has a source of its own."""
        return ('teacher.',) if self.teacher.parts.pretrained is not None else ()

    def prepare_unsaved(self) -> None:
        """Read the teacher's own weights before a checkpoint without them is loaded."""
        self.teacher.need_weights()

    def train(self, mode: bool = True) -> MaskCLIPPlus:
        """Set the mode; the teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    # --- vocabulary ---------------------------------------------------------------------------------------------

    @property
    def text(self) -> ClassEmbeddings:  # type: ignore[override]
        """The teacher's class embeddings; the model knows well only the classes that it was trained for."""
        return self.teacher.text

    def accept_vocabulary(self, vocabulary: Vocabulary) -> Vocabulary:
        """What the teacher accepts, without the backgrounds that look at its embeddings: the student has others.

        Raises:
            ValueError: If the teacher refuses it, or it has such a background.
        """
        if vocabulary.background in ('clipn', 'gda'):
            raise ValueError(
                f"MaskCLIPPlus has no background='{vocabulary.background}'; use none, prompts or threshold."
            )
        return self.teacher.accept_vocabulary(vocabulary)

    def label_names(self) -> tuple[str, ...]:
        """The teacher's."""
        return self.teacher.label_names()

    def words_changed(self) -> None:
        """Give the head as many classes.

        Raises:
            ValueError: If the teacher has several rows a class, or unseen classes are none.
        """
        count = len(self.teacher.text.names)
        if self.teacher.num_channels() != count:
            raise ValueError("MaskCLIPPlus classifies with one embedding per class: set merge='mean' on the teacher.")
        bad = [c for c in self.unseen or () if not 0 <= c < count]
        if bad:
            raise ValueError(f'unseen={bad}: the vocabulary has the ids 0 to {count - 1}.')
        self.decode_head.num_classes = self.decode_head.out_channels = count
        self.num_classes, self.out_channels = count, count
        self.teacher.show_names(self.label_names())

    def class_embeddings(self) -> Tensor:
        """Unit-length embeddings of the classes, (K, E)."""
        return self.teacher.class_embeddings().embeddings

    # --- forward ------------------------------------------------------------------------------------------------

    def extract_feat(self, inputs: Tensor) -> list[Tensor]:
        """Inputs of the decode head: class embeddings, then the backbone's levels."""
        return [self.class_embeddings(), *self.backbone(inputs)]

    def teacher_input(self, inputs: Tensor) -> Tensor:
        """The student's normalised pictures as the teacher's weights expect them."""
        if self.shared_input or not getattr(self.data_preprocessor, '_enable_normalize', False):
            return inputs
        pictures = (inputs * self.data_preprocessor.std + self.data_preprocessor.mean) / 255
        return normalize_pictures(pictures, self.teacher.tower.preprocess)

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Losses ``decode.loss_ce``, ``decode.acc_seg`` and, with distillation, ``decode.loss_distill``.

        Args:
            inputs: Preprocessed pictures, (N, 3, H, W).
            data_samples: Ground truth with -1 where a pseudo-label is wanted; 255, or 65535 beyond 255 classes, counts
                nowhere.
        """
        return add_prefix(self.losses(self.backbone(inputs), inputs, data_samples), 'decode')

    def losses(self, levels: Sequence[Tensor], inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Losses of the backbone's levels for a batch; see :meth:`loss`."""
        features = self.decode_head.features(levels)
        logits = self.decode_head.classify(features, self.class_embeddings())
        given = torch.stack([sample.gt_sem_seg.data.squeeze(0) for sample in data_samples])
        labels = self.pseudo_label(given, logits.detach(), inputs) if self.pseudo_labels else given
        samples = [SegDataSample(gt_sem_seg=PixelData(data=item.unsqueeze(0))) for item in labels]
        losses = self.decode_head.loss_by_feat(logits, samples)
        if self.distillation:
            with torch.no_grad():
                dense = self.teacher.dense_features(self.teacher_input(inputs))
            none = ignored_label(self.num_classes)
            counted = given == UNLABELLED if self.distilled_pixels == 'unlabelled' else given != none
            losses['loss_distill'] = self.distillation * feature_distillation_loss(features, dense, counted)
        return losses

    @torch.no_grad()
    def pseudo_label(self, labels: Tensor, logits: Tensor, inputs: Tensor) -> Tensor:
        """Labels with pseudo-labels where there were none.

        Args:
            labels: Ground truth.
            logits: The student's.
            inputs: The student's pictures.

        Shape:
            - labels and result: :math:`(N, H, W)`; logits: :math:`(N, K, h, w)`; inputs: :math:`(N, 3, H, W)`
        """
        scores = logits if self.self_training else self.teacher.head_logits(self.teacher_input(inputs))
        return fill_unlabelled(labels, scores, self.unseen)
