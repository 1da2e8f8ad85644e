"""Query-based models on pictures: semantic, panoptic and instance results of the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from denseclip.apis.active_words import choice_of
from denseclip.apis.confidence import Wishes
from denseclip.apis.detection import Detections
from denseclip.apis.errors import UserError
from denseclip.apis.images import ChannelOrder, Picture
from denseclip.apis.inferencer import Inferencer, Words
from denseclip.apis.panoptic import PanopticSegmentation
from denseclip.apis.segmentation import Segmentation
from denseclip.apis.turns import builds
from denseclip.clip.vocabulary import Vocabulary
from denseclip.core.words import TakesWords
from denseclip.structures.word_scores import ScoreRequest

DEFAULT_SCORE = 0.3
"""Least confidence of an instance."""


class MaskInferencer(Inferencer):
    """A query-based open-vocabulary model (FC-CLIP, MAFT+, PMP), ready for pictures.

    Args:
        config: See :class:`Inferencer`.
        weights: See there.
        device: See there.
        vocabulary: See there.
        trust: See there.
        task: ``'semantic'``, ``'panoptic'`` or ``'instance'``.
        things: Countable classes, as ``denseclip.clip.things.thing_flags`` takes them; by default words such as "sky"
            and "road" mean stuff and all others things. The model's own classes keep what its config says.
        score: Least confidence of an instance, 0..1.

    Raises:
        UserError: If config, weights, device, vocabulary, task or things cannot be used.
    """

    score = DEFAULT_SCORE
    _things: Any = None

    @builds
    def __init__(
        self,
        config: Any,
        weights: str | Path | None = None,
        device: Any = None,
        vocabulary: Any = None,
        trust: bool = False,
        task: str = 'semantic',
        things: Sequence[str] | str | None = None,
        score: float = DEFAULT_SCORE,
    ) -> None:
        self._things = things
        self.score = score
        super().__init__(config, weights, device, vocabulary, trust)
        if things is not None and vocabulary is None:
            self.set_vocabulary(self.vocabulary)
        self.set_task(task)

    def set_task(self, task: str) -> None:
        """Give other results from now on; the weights are the same.

        Raises:
            UserError: If the model has one task only, or the task is unknown.
        """
        if not isinstance(self.model, TakesWords):
            if task != 'semantic':
                raise UserError(f'{type(self.model).__name__} gives semantic results only: leave --task (task=) out.')
            self.task = task
            return
        with self._turn:
            try:
                self.model.set_task(task)
            except ValueError as error:
                raise UserError(str(error)) from error
            self.task = task

    def set_vocabulary(self, vocabulary: Any, things: Sequence[str] | str | None = None) -> None:
        """Tell other classes apart from now on, in all calls without words of their own.

        Args:
            vocabulary: Anything that ``Vocabulary.of`` accepts.
            things: Countable classes; None: those given when the model was loaded, else by their words.

        Raises:
            UserError: If the model cannot do what the vocabulary asks, or a thing is no class.
        """
        wanted = Vocabulary.of(vocabulary)
        with self._turn:
            self._words = self._take(self._asked(wanted, things))

    @property
    def things(self) -> Any:
        """Countable classes of the present words as they were given; None: none were."""
        asked = self._words.asked
        return None if asked == self._own_words.asked or asked[1] == 'auto' else asked[1]

    @property
    def keeps_things(self) -> bool:
        """Whether they were given for all words, when the model was loaded."""
        return self._things is not None

    def _asked(self, vocabulary: Vocabulary, things: Any = None) -> tuple[Vocabulary, Any]:
        things = self._things if things is None else things
        if things is None:
            return super()._asked(vocabulary, 'auto')
        return vocabulary, things if isinstance(things, str) else tuple(things)

    def _present_things(self) -> Any:
        flags = getattr(self.model, 'is_thing', None)
        if flags is None:
            return None
        return tuple(n for n, is_thing in zip(self.model.vocabulary.names, flags, strict=False) if is_thing)

    def _tell(self, vocabulary: Vocabulary, things: Any) -> None:
        if isinstance(self.model, TakesWords):
            self.model.set_vocabulary(vocabulary, things)
        else:
            super()._tell(vocabulary, None)

    def segment(
        self,
        image: Any,
        classes: Any = None,
        things: Sequence[str] | str | None = None,
        *,
        channel_order: ChannelOrder | None = None,
        min_confidence: float | None = None,
        min_area: float | None = None,
        pixel_scores: bool = False,
        scores: bool = True,
    ) -> Any:
        """Segment a picture, or several; arguments and errors as in :meth:`Inferencer.segment`.

        Args:
            image: See there.
            classes: See there.
            things: Countable classes among ``classes``; None: see :meth:`set_vocabulary`.
            channel_order: See there.
            min_confidence: Least score of a class, a segment or an instance, by the task; for instances it takes the
                place of :attr:`score`.
            min_area: Least share of the picture of a class, a segment or an instance.
            pixel_scores: See there; for semantic results.
            scores: See there; segments and instances have scores anyway.

        Returns:
            What the task says, in the picture's own size: :class:`Segmentation`, :class:`PanopticSegmentation`, or
            :class:`Detections` with masks, surest first; a list of them for several pictures.
        """
        wishes = Wishes(min_confidence, min_area, pixel_scores, scores)
        return self._segment(image, classes, channel_order, wishes, things)

    def _run(self, pictures: Sequence[Picture], request: ScoreRequest | None) -> list[Any]:
        """See :meth:`Inferencer._run`; the model is told from which score on instances are wanted."""
        tasks = getattr(self.model, 'tasks', None)
        if tasks is None:
            return super()._run(pictures, request)
        asked = None if request is None else request.min_confidence
        tasks.least_score = self.score if asked is None else asked
        try:
            return super()._run(pictures, request)
        finally:
            tasks.least_score = None

    def _result(
        self, sample: Any, words: Words, pixels: np.ndarray, source: Path | None, wishes: Wishes
    ) -> Segmentation | PanopticSegmentation | Detections:
        height, width = pixels.shape[:2]
        vocabulary, palette = words.vocabulary, words.palette
        chosen = choice_of(sample, vocabulary.names)
        if 'pred_panoptic_seg' in sample:
            found = sample.pred_panoptic_seg
            ids = found.data[0, :height, :width].cpu().numpy()
            result = PanopticSegmentation.of(ids, found.segments_info, vocabulary, palette, pixels, source)
            return replace(result, **chosen).above(wishes.min_confidence or 0.0, wishes.min_area or 0.0)
        if 'pred_instances' not in sample:
            return super()._result(sample, words, pixels, source, wishes)
        objects = sample.pred_instances
        objects = objects[objects.scores.sort(descending=True, stable=True).indices]
        limit = np.array([width, height, width, height], dtype=np.float32)
        return Detections(
            np.minimum(objects.bboxes.float().cpu().numpy(), limit),
            objects.labels.cpu().numpy(),
            objects.scores.float().cpu().numpy(),
            objects.masks[:, :height, :width].cpu().numpy(),
            vocabulary.names,
            palette,
            pixels,
            source,
            **chosen,
        ).above(self.score if wishes.min_confidence is None else wishes.min_confidence, wishes.min_area or 0.0)
