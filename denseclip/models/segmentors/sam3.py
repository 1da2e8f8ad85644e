"""SAM 3: words to masks, one label per pixel (Carion et al., 2025; rules of ActiveSAM, 2026)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from denseclip.clip.things import ThingsLike
from denseclip.clip.vocabulary import Vocabulary, VocabularyLike
from denseclip.core.placement import Placement, size_of, upper_left
from denseclip.core.words import TakesWords
from denseclip.models.builder import build_module
from denseclip.models.functional.concepts import FUSIONS, fused_maps, gated_maps, take_best_of_names
from denseclip.models.sam3_concepts import MEAN, STD, SAM3Concepts
from denseclip.models.text_encoders.concept_text import ConceptText

from .label_inference import LabelMapInference
from .mask_results import MaskTasks, WritesTasks
from .sam3_folder import fitted_to_folder, preprocessor
from .sam3_results import ConceptResults, FoundObjects
from .score_maps import ScoreMaps
from .word_scoring import gather

_WINDOWS = ('mode', 'crop_size', 'stride', 'window_batch')


@MODELS.register_module()
class SAM3Segmentor(WritesTasks, LabelMapInference, TakesWords, BaseSegmentor):
    """SAM 3 of transformers, asked for every name of every class.

    The picture is encoded once and looked at for some phrases at a time; the phrases of a vocabulary are encoded once.
    Of a phrase SAM 3 says whether the picture shows it at all, where its objects are, and which pixels it names. These
    become one map per name (see :mod:`denseclip.models.functional.concepts`), a class has the best of its names, and
    the best class gets the pixel. Instances and panoptic segments are its objects.

    Args:
        sam: See :class:`SAM3Concepts`. Weights come from a checkpoint: the folder of a published model will do.
        vocabulary: Anything that ``Vocabulary.of`` accepts; None waits for :meth:`set_vocabulary`. Names should be
            short noun phrases, which SAM 3 was trained on.
        things: Countable classes, for panoptic and instance results; see ``denseclip.clip.things``.
        fusion: One of :data:`FUSIONS`.
        presence: Least probability that the picture shows a concept; maps are multiplied by it. Classes below it are
            taken only where all others are, too. None: presence does not count (but in the scores of objects).
        threshold: Queries that score no more are no objects, 0..1: 0.3 in transformers and ActiveSAM, 0.5 in Meta's
            own processor.
        phrases_at_once: See :class:`SAM3Concepts`.
        data_preprocessor: MMSeg data preprocessor; None makes one with SAM 3's normalisation.
        train_cfg: Not used.
        test_cfg: ``mode`` (``'whole'``, or ``'slide'`` with ``crop_size`` and ``stride``), and what
            :class:`MaskTasks` takes; ``score_threshold`` is ``threshold`` by default.
        init_cfg: MMEngine initialisation config.

    Attributes:
        sam: The detector.
        text: The words.
    """

    tta_model = 'ScoreAverageTTAModel'
    background_of_masks = True
    align_corners = False
    text: ConceptText  # type: ignore[assignment]

    def __init__(
        self,
        sam: Mapping[str, Any] | str | Path | nn.Module | None = None,
        vocabulary: VocabularyLike | None = None,
        things: ThingsLike | None = None,
        fusion: str = 'max',
        presence: float | None = 0.0,
        threshold: float = 0.3,
        phrases_at_once: int | None = None,
        data_preprocessor: Mapping[str, Any] | nn.Module | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        init_cfg: Any = None,
    ) -> None:
        del train_cfg  # an empty entry of many configs
        if fusion not in FUSIONS:
            raise ValueError(f"fusion='{fusion}' is unknown; choose from {', '.join(FUSIONS)}.")
        for name, share in (('presence', presence), ('threshold', threshold)):
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f'{name} is {share:g}; it must be between 0 and 1.')
        super().__init__(
            data_preprocessor=build_module(data_preprocessor or preprocessor(MEAN, STD)), init_cfg=init_cfg
        )
        self.sam = SAM3Concepts(sam, phrases_at_once)
        self.text = ConceptText()
        self.fusion, self.presence, self.threshold = fusion, presence, threshold
        self.test_cfg = ConfigDict({'mode': 'whole', **(test_cfg or {})})
        own = {key: value for key, value in self.test_cfg.items() if key not in _WINDOWS}
        self.tasks = MaskTasks(**{'score_threshold': threshold, **own})
        self._things_asked_for = things
        self.register_load_state_dict_post_hook(_forget_text)
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, things)

    @classmethod
    def fitted(cls, cfg: Config, weights: str | Path | None) -> Config:
        """See :func:`fitted_to_folder`."""
        return fitted_to_folder(cfg, weights)

    # --- vocabulary ---------------------------------------------------------------------------------------------

    @property
    def num_classes(self) -> int:
        """Number of labels, the background included where the vocabulary has one."""
        return len(self.text.names) + (self.vocabulary.background == 'threshold')

    def accept_vocabulary(self, vocabulary: Vocabulary) -> Vocabulary:
        """Refuse backgrounds that look at embeddings of pixels, sentences, and phrases that are too long.

        Raises:
            ValueError: Then.
        """
        if vocabulary.background not in ('none', 'prompts', 'threshold'):
            raise ValueError(
                f"{type(self).__name__} has no background='{vocabulary.background}'; use 'threshold' (pixels where no "
                "class scores enough), 'prompts' or 'none'."
            )
        if vocabulary.sentences:
            raise ValueError(
                f'{type(self).__name__} looks for noun phrases, not for sentences of descriptions: leave them out, or '
                'give phrases as further names of a class.'
            )
        self.sam.tokenize(vocabulary.prompts)
        return vocabulary

    def label_names(self) -> tuple[str, ...]:
        """Class names, and the background where it has a label."""
        return self.text.names + (('background',) if self.vocabulary.background == 'threshold' else ())

    def num_channels(self) -> int:
        """Number of class planes."""
        return len(self.text.names)

    # --- from pictures to maps ----------------------------------------------------------------------------------

    def class_maps(self, image: Tensor) -> tuple[Tensor, list[FoundObjects]]:
        """Scores of the classes of a normalised picture, and the objects of those tasks that want some.

        Shape:
            - image: :math:`(3, H, W)`; scores: :math:`(K, h, w)`, at the resolution of SAM 3's masks
        """
        first, index = 0, self.text.class_index(image.device)
        asked = self.tasks.least_score if 'instance' in self.tasks.tasks else None
        least = self.threshold if asked is None else min(self.threshold, asked)
        maps: Tensor | None = None
        objects: list[FoundObjects] = []
        for found in self.sam.find(image, self.text.features(self.sam)):  # some phrases at a time
            planes = fused_maps(found.masks, found.scores, found.semantic, self.threshold, self.fusion)
            planes = gated_maps(planes, found.presence, self.presence)
            if maps is None:
                maps = planes.new_full((self.num_channels(), *planes.shape[1:]), -torch.inf)
            names = torch.arange(first, first + len(planes), device=image.device)
            take_best_of_names(maps, planes, index[names])
            if self.tasks.tasks != ('semantic',):
                objects.append(FoundObjects.of(found, names, index, least).chosen())
            first += len(planes)
        assert maps is not None  # a vocabulary has at least one class
        return maps, objects

    def head_logits(self, inputs: Tensor) -> Tensor:
        """The same for pictures (N, 3, H, W): 0..1, and below 0 where presence is too small, (N, K, h, w)."""
        return torch.stack([self.class_maps(image)[0] for image in inputs])

    # --- MMSeg's entrances --------------------------------------------------------------------------------------

    def predict(self, inputs: Tensor, data_samples: list[Any] | None = None) -> list[Any]:
        """Segment a batch.

        Args:
            inputs: Preprocessed pictures, (N, 3, H, W).
            data_samples: Their meta information; without it results have the input's size.

        Returns:
            Data samples with the results of the tasks, see :meth:`MaskTasks.write`.

        Raises:
            ValueError: If windows are to give anything but semantic results.
        """
        samples = data_samples or [SegDataSample() for _ in inputs]
        slide = self.test_cfg.mode == 'slide'
        if slide and self.tasks.tasks != ('semantic',):
            raise ValueError(f"mode='slide' gives semantic results only, not {', '.join(self.tasks.tasks)}.")
        for image, sample in zip(inputs, samples, strict=True):
            results = ConceptResults(self.vocabulary, self.tasks, self.is_thing, self.num_channels())
            placement = Placement.of(sample.metainfo, size_of(inputs))
            if slide:
                results.write_semantic(sample, gather(*self._windows(image[None]))[0], placement)
                continue
            self._write_whole(results, sample, image, placement)
        return samples

    def _write_whole(self, results: ConceptResults, sample: Any, image: Tensor, placement: Placement) -> None:
        maps, objects = self.class_maps(image)
        placement = _at_once(placement, image, maps)
        if 'semantic' in self.tasks.tasks:
            results.write_semantic(sample, ScoreMaps([maps], None), placement)
        if objects:
            results.write_objects(sample, FoundObjects.together(objects), maps, placement)

    def encode_decode(self, inputs: Tensor, batch_data_samples: Any = None) -> Tensor:
        """See :meth:`head_logits`."""
        del batch_data_samples
        return self.head_logits(inputs)

    def extract_feat(self, inputs: Tensor) -> Any:
        """Features of each picture, see :meth:`SAM3Concepts.see`."""
        return [self.sam.see(image) for image in inputs]

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> Tensor:
        """See :meth:`head_logits`."""
        del data_samples
        return self.head_logits(inputs)

    def loss(self, inputs: Tensor, data_samples: Any) -> dict[str, Tensor]:
        """Nothing is learned here."""
        raise NotImplementedError(f'{type(self).__name__} is used as it is: transformers trains SAM 3.')


def _at_once(placement: Placement, image: Tensor, maps: Tensor) -> Placement:
    """The same way in one step where nothing is padded: maps are resized to the picture, not to the input first."""
    if placement.valid != upper_left(size_of(image)):
        return placement
    return replace(placement, padded=size_of(maps), valid=upper_left(size_of(maps)))


def _forget_text(module: Any, _: Any) -> None:
    module.text.clear()
