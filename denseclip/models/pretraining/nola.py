"""Prompts of a frozen CLIP learnt from pictures without a label: the surest pixels of a training-free model teach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from denseclip.clip.learning_text import LearningTextBank
from denseclip.clip.vocabulary import Vocabulary, VocabularyLike

from ..builder import build_module
from ..functional.open_vocab import cosine_scores
from ..functional.pseudo_labels import UNLABELLED, samples_per_class, surest_labels
from ..functional.random_views import random_colours
from ..open_clip_parts import OpenCLIPParts
from ..segmentors.open_vocab import OpenVocabularySegmentor
from ..unsaved import leave_out_of_checkpoints


@MODELS.register_module()
class NoLA(BaseModel):
    """Coupled prompts that learn what a training-free model with DINO's neighbourhoods is surest of.

    In every batch the teacher labels all patches, and each class keeps those that it is surest of, equally many where
    there are so many. The student, a frozen CLIP with learned tokens in the first blocks of both towers, sees the same
    pictures in other colours and learns these labels. No label takes part, not in choosing either: the last iteration
    is the result. Checkpoints hold the prompts alone where CLIP has a source of its own;
    :func:`denseclip.models.pretraining.export.export_pretrained` writes the folder of a CLIP with them, for all models.

    Args:
        clip: As of :class:`~denseclip.models.segmentors.OpenVocabularySegmentor`, with ``preset`` or ``read_out``.
            Prompts that came with the CLIP are trained further.
        teacher: A segmentor of that kind without deep prompts, or its config; usually the preset ``proxyclip``, its
            ``affinity`` from DINO.
        vocabulary: Classes; anything that ``Vocabulary.of`` accepts. The student speaks them by their names.
        descriptions: What they look like, by name: the teacher's scores are then the means over sentences. None: the
            teacher goes by names, too.
        deep_prompts: ``length`` and ``depth`` of :class:`~denseclip.clip.deep_prompts.CoupledPrompts`.
        share: Part of what a class would have if all had equally many patches, of which it keeps the surest.
        least: Patches that it keeps at least, as far as the teacher gives it so many.
        label_smoothing: Of the cross-entropy.
        colours: How strongly the student's pictures change their colours, see :func:`random_colours`; 0: not at all.
        data_preprocessor: Of MMSeg; None: the student's.
        test_cfg: Of the student.
        student: Further arguments of the student.

    Source: Imam et al., "CLIP meets DINO for Tuning Zero-Shot Classifier using Unlabeled Image Collections", 2024. Of
    whole pictures there; on patches it is ours, and so is choosing without labels.
    """

    student: OpenVocabularySegmentor
    teacher: OpenVocabularySegmentor

    def __init__(
        self,
        clip: Mapping[str, Any],
        teacher: Mapping[str, Any] | nn.Module,
        vocabulary: VocabularyLike,
        descriptions: Mapping[str, Sequence[str]] | None = None,
        deep_prompts: Mapping[str, int] | None = None,
        share: float = 0.2,
        least: int = 16,
        label_smoothing: float = 0.1,
        colours: float = 0.4,
        data_preprocessor: Mapping[str, Any] | nn.Module | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        **student: Any,
    ) -> None:
        settings = dict(clip)
        how: dict[str, Any] = {key: settings.pop(key) for key in ('preset', 'read_out') if key in settings}
        parts = OpenCLIPParts(**settings)
        prompts = parts.clip.with_prompts(**(deep_prompts or {}))
        built = OpenVocabularySegmentor({**how, 'parts': parts}, merge='mean', test_cfg=test_cfg, **student)
        super().__init__(built.data_preprocessor if data_preprocessor is None else build_module(data_preprocessor))
        self.prompts, self.student, self.teacher = prompts, built, build_module(teacher)
        self.teacher.eval().requires_grad_(False)
        self.prompts.requires_grad_(True)
        if self.teacher.output != 'probabilities':
            raise ValueError("NoLA compares how sure the teacher is: give it output='probabilities'.")
        self.bank = LearningTextBank(built.text.tower, built.text.bank.templates, 'mean')
        self.share, self.least, self.label_smoothing, self.colours = share, least, label_smoothing, colours
        leave_out_of_checkpoints(self)
        self.set_vocabulary(vocabulary, descriptions)

    @property
    def not_saved_prefixes(self) -> tuple[str, ...]:
        """CLIP and the teacher are left out of checkpoints where they have a source of their own."""
        parts = {'student.': self.student, 'teacher.': self.teacher}
        return tuple(prefix for prefix, part in parts.items() if part.parts.has_source)

    def prepare_unsaved(self) -> None:
        """Read CLIP's own weights before a checkpoint without them is loaded."""
        self.student.need_weights()
        self.teacher.need_weights()

    def train(self, mode: bool = True) -> NoLA:
        """Set the mode; the teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes."""
        return self.student.vocabulary

    def set_vocabulary(
        self, vocabulary: VocabularyLike, descriptions: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Choose the classes.

        Args:
            vocabulary: See the class.
            descriptions: See the class.

        Raises:
            ValueError: If it has a background that is no class with words.
        """
        words = Vocabulary.of(vocabulary)
        if words.background not in ('none', 'prompts'):
            raise ValueError(f"NoLA learns from words: background='{words.background}' has none; use none or prompts.")
        self.student.set_vocabulary(words)
        self.teacher.set_vocabulary(words if descriptions is None else words.with_descriptions(descriptions))

    def forward(
        self, inputs: Tensor, data_samples: Sequence[BaseDataElement] | None = None, mode: str = 'tensor'
    ) -> Any:
        """Run the model.

        Args:
            inputs: Preprocessed pictures (N, 3, H, W).
            data_samples: Meta information of pictures, for predictions.
            mode: ``'loss'``; ``'predict'``: what the student segments; or ``'tensor'``: its scores.
        """
        if mode == 'loss':
            return self.loss(inputs)
        if mode == 'predict':
            return self.student.predict(inputs, None if data_samples is None else list(data_samples))
        return self.student.head_logits(inputs)

    def loss(self, inputs: Tensor, data_samples: Sequence[BaseDataElement] | None = None) -> dict[str, Tensor]:
        """Cross-entropy of the student on the patches that the teacher is surest of.

        Args:
            inputs: Preprocessed pictures (N, 3, H, W).
            data_samples: Not used: no labels are needed.

        Returns:
            ``loss``; ``agreement``, the share of these patches where the student says the same before it learns them
            (pictures that were never seen make it a score without labels); and ``labelled``, their share of all.
        """
        del data_samples
        labels, grid = self.pseudo_labels(inputs)
        seen = random_colours(inputs, self.colours) if self.colours else inputs
        rows = self.bank.encode(self.student.vocabulary).embeddings
        scores = cosine_scores(self.student.dense_features(seen), rows) * self.student.scale
        logits = F.interpolate(scores, grid, mode='bilinear', align_corners=False).flatten(2).transpose(1, 2)
        logits = logits.flatten(0, 1)
        loss = F.cross_entropy(logits, labels, ignore_index=UNLABELLED, label_smoothing=self.label_smoothing)
        counted = labels != UNLABELLED
        same = (logits.detach().argmax(dim=1) == labels) & counted
        return {
            'loss': loss,
            'agreement': same.sum() / counted.sum().clamp_min(1),
            'labelled': counted.float().mean(),
        }

    @torch.no_grad()
    def pseudo_labels(self, inputs: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Labels of the patches that the teacher is surest of.

        Args:
            inputs: Preprocessed pictures.

        Returns:
            A label per patch of the teacher's grid (h, w), picture by picture, and -1 where it is not sure enough; and
            the grid.

        Shape:
            - inputs: :math:`(N, 3, H, W)`; labels: :math:`(Nhw)`
        """
        probabilities = self.teacher.head_logits(inputs)
        grid = (probabilities.shape[-2], probabilities.shape[-1])
        rows = probabilities.flatten(2).transpose(1, 2).flatten(0, 1)
        count = samples_per_class(len(rows), rows.shape[1], self.share, self.least)
        return surest_labels(rows, count), grid
