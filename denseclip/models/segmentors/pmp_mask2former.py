"""Prompt-guided Mask2Former with MMSegmentation's closed-set head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmseg.models.segmentors.encoder_decoder import EncoderDecoder
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from torch import Tensor

from denseclip.clip.things import ThingsLike
from denseclip.clip.vocabulary import Vocabulary, VocabularyLike
from denseclip.core.class_embeddings import ClassEmbeddings
from denseclip.core.lazy_weights import CLIPOwner
from denseclip.core.placement import Placement, resize, size_of
from denseclip.core.words import TakesWords
from denseclip.models.functional.mask_inference import semantic_scores
from denseclip.models.open_clip_parts import OpenCLIPParts, read_out_of
from denseclip.models.unsaved import leave_out_of_checkpoints
from denseclip.structures.mask_proposals import MaskProposals

from .mask_results import MaskTasks, WritesTasks
from .prompt_guided import PromptGuided

_WINDOWS = ('mode', 'crop_size', 'stride')


class TextMask2Former(WritesTasks, TakesWords, CLIPOwner, EncoderDecoder):
    """MMSeg's ``EncoderDecoder`` around a Mask2Former head, with the text tower of a CLIP beside it.

    The text tower is frozen, is read from its own source, and is not in checkpoints: MMSeg's Mask2Former checkpoints
    load as they are.

    Args:
        *args: As of MMSeg's ``EncoderDecoder``.
        clip: Settings of :class:`OpenCLIPParts`, ``model`` and ``pretrained``; or a built one.
        vocabulary: Words of the head's classes, in its order.
        templates: Set of sentences for class names.
        things: Countable classes, for panoptic and instance results; see ``denseclip.clip.things``.
        **kwargs: As of MMSeg's ``EncoderDecoder``. ``test_cfg`` also takes what :class:`MaskTasks` does (``task``,
            ``score_threshold``, ``keep_logits`` ...).

    Attributes:
        is_thing: Which classes are countable.
    """

    sourced_prefixes = not_saved_prefixes = ('text.',)

    def __init__(
        self,
        *args: Any,
        clip: Mapping[str, Any] | OpenCLIPParts,
        vocabulary: VocabularyLike,
        templates: str | Sequence[str] = 'vild',
        things: ThingsLike | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        parts = clip if isinstance(clip, OpenCLIPParts) else OpenCLIPParts(**clip)
        self.own(parts)
        self.text = ClassEmbeddings(parts.towers(read_out_of(None, None))[1], templates, 'max')
        self.test_cfg: Any = ConfigDict(kwargs.get('test_cfg') or {})
        self.tasks = MaskTasks(**{key: value for key, value in self.test_cfg.items() if key not in _WINDOWS})
        leave_out_of_checkpoints(self)
        self.set_vocabulary(vocabulary, things)

    def train(self, mode: bool = True) -> TextMask2Former:
        """Set the mode; the frozen text tower stays in evaluation mode."""
        super().train(mode)
        self.text.tower.eval()
        return self

    def accept_vocabulary(self, vocabulary: Vocabulary) -> Vocabulary:
        """Refuse another number of words than the head has classes, and backgrounds without words."""
        if vocabulary.background not in ('none', 'prompts'):
            raise ValueError(
                f"{type(self).__name__} has no background='{vocabulary.background}'; use 'none' or 'prompts'."
            )
        if len(vocabulary.groups) != self.num_classes:
            raise ValueError(
                f'the head of this model has {self.num_classes} classes, the vocabulary {len(vocabulary.groups)}: '
                'give as many, use set_prompts() to look for other words, or use an open-vocabulary host.'
            )
        return vocabulary


@MODELS.register_module()
class PMPMask2Former(PromptGuided, TextMask2Former):
    """Prompt-guided mask proposals on MMSeg's Mask2Former: the classes are closed, the prompts are free.

    Turn a Mask2Former config of MMSeg into this one by the types of the model and of its ``decode_head``
    (``GuidedMask2FormerHead``) and by ``clip`` and ``vocabulary``.

    Args:
        *args: See :class:`PromptGuided` and :class:`TextMask2Former`.
        prompt_guide: See :class:`PromptGuided`; sizes are those of the head.
        **kwargs: See :class:`PromptGuided` and :class:`TextMask2Former`.
    """

    decode_head: Any

    def _decode_head_forward_train(self, inputs: list[Tensor], data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        guide = self.query_guide(inputs[0].shape[0], data_samples)
        return add_prefix(self.decode_head.guided_loss(inputs, data_samples, guide), 'decode')

    def propose(self, features: Sequence[Tensor], samples: Sequence[SegDataSample] | None = None) -> MaskProposals:
        """Masks of a batch; in place of class embeddings they have the logits (N, Q, K + 1) of the head's classes.

        Args:
            features: Feature maps of the backbone.
            samples: Data samples, for prompts of their own.
        """
        pixel = self.decode_head.pixel_features(features)

        def run(guide: Any) -> MaskProposals:
            classes, masks = self.decode_head.decode(pixel, guide)
            return MaskProposals(masks[-1], classes[-1])

        return self.guided_proposals(run, features[0].shape[0], samples)

    def prompt_match(self, proposals: MaskProposals, prompt: int, rows: Tensor) -> Tensor:
        """Probability of the class that the prompt names; of free phrases, that a proposal is anything at all."""
        del rows  # this head has no class embeddings
        assert proposals.class_embeddings is not None
        probabilities = proposals.class_embeddings.softmax(dim=-1)
        return probabilities[..., prompt] if self._phrases is None else 1 - probabilities[..., -1]

    def predict(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> list[SegDataSample]:
        """Segment a batch.

        Args:
            inputs: Preprocessed pictures, (N, 3, H, W).
            data_samples: Their meta information; without it results have the input's size.

        Returns:
            Data samples with the results of the tasks, see :meth:`MaskTasks.write`; from windows (``mode='slide'``)
            with ``pred_sem_seg`` and ``seg_logits``, as MMSeg makes them.

        Raises:
            ValueError: If windows are to give anything but semantic results.
        """
        if self.test_cfg.get('mode', 'whole') != 'whole':
            if self.tasks.tasks != ('semantic',):
                raise ValueError(f"mode='slide' gives semantic results only, not {', '.join(self.tasks.tasks)}.")
            return super().predict(inputs, data_samples)
        samples = data_samples or [SegDataSample() for _ in inputs]
        masks, probabilities = self._masks(inputs, samples)
        for sample, classes, logits in zip(samples, probabilities, masks, strict=True):
            placement = Placement.of(sample.metainfo, size_of(inputs))
            self.tasks.write(sample, classes[:, :-1], logits, placement, self.is_thing, classes[:, -1])
        return samples

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Class scores (N, K, H, W) of whole pictures in their size."""
        samples = [SegDataSample(metainfo=meta) for meta in batch_img_metas]
        masks, probabilities = self._masks(inputs, samples)
        return semantic_scores(probabilities[..., :-1], resize(masks, size_of(inputs)))

    def _forward(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> Any:
        """Class logits and mask logits of all outputs, see :meth:`GuidedMask2FormerHead.decode`."""
        features = self.extract_feat(inputs)
        return self.decode_head(features, data_samples, self.query_guide(inputs.shape[0], data_samples))

    def _masks(self, inputs: Tensor, samples: Sequence[SegDataSample]) -> tuple[Tensor, Tensor]:
        """Mask logits (N, Q, h, w) and class probabilities (N, Q, K + 1), "no object" last."""
        proposals = self.propose(self.extract_feat(inputs), samples)
        assert proposals.class_embeddings is not None
        return proposals.mask_logits, proposals.class_embeddings.softmax(dim=-1)
