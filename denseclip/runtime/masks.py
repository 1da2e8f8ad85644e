"""An exported query-based model: labels, segments or instances of the same graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from denseclip.apis.confidence import Wishes
from denseclip.apis.detection import Detections
from denseclip.apis.errors import UserError
from denseclip.apis.images import ChannelOrder, pictures_of
from denseclip.apis.images import Picture as ReadPicture
from denseclip.apis.panoptic import PanopticSegmentation
from denseclip.clip.things import thing_flags
from denseclip.clip.vocabulary import Vocabulary
from denseclip.runtime.confidences import Confidences
from denseclip.runtime.kinds import Masks
from denseclip.runtime.mask_results import (
    Queries,
    class_probabilities,
    instances,
    panoptic_segments,
    semantic_labels,
    semantic_scores,
)
from denseclip.runtime.model import RuntimeModel
from denseclip.runtime.pictures import extend, prepare
from denseclip.runtime.results import Answer, Asked, wanted
from denseclip.structures.word_scores import PROBABILITY

TASKS = ('semantic', 'panoptic', 'instance')
_SCORE = 0.3
"""Least confidence of an instance, as with PyTorch."""


class RuntimeMaskModel(RuntimeModel):
    """An exported FC-CLIP or MAFT+, see :class:`RuntimeModel`.

    Attributes:
        score: Least confidence of an instance, 0..1.
    """

    gives = 'masks'

    def _begin(self) -> None:
        super()._begin()
        self._rule: Masks = self.manifest.rule
        self._things: Any = None
        self.score = _SCORE
        self.set_task(self._rule.task)

    def set_task(self, task: str) -> None:
        """Give other results from now on: ``'semantic'``, ``'panoptic'`` or ``'instance'``.

        Raises:
            UserError: If the task is unknown.
        """
        if task not in TASKS:
            raise UserError(f"task '{task}' is unknown; choose from {', '.join(TASKS)}.")
        self.task = task

    def set_things(self, things: Sequence[str] | str | None) -> None:
        """Say which classes are countable in calls that do not say it; None: by their words.

        Raises:
            UserError: If a thing is none of the present classes.
        """
        if things is not None:
            self._flags(self.vocabulary, things)
        self._things = things

    def _flags(self, vocabulary: Vocabulary, things: Any) -> tuple[bool, ...]:
        """Whether each class is countable; the model's own classes keep what its config says."""
        things = self._things if things is None else things
        if things is None and vocabulary == self.own_vocabulary and self._rule.things is not None:
            things = self._rule.things
        try:
            return thing_flags(vocabulary, 'auto' if things is None else things)
        except ValueError as error:
            raise UserError(str(error)) from error

    def segment(  # type: ignore[override]
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
        """Segment a picture, or several, as ``denseclip.apis.MaskInferencer.segment`` does.

        Args:
            image: See :meth:`RuntimeModel.segment`.
            classes: See there.
            things: Countable classes; None: see :meth:`set_things`.
            channel_order: See :meth:`RuntimeModel.segment`.
            min_confidence: Least score of a class, a segment or an instance, by the task; for instances it takes the
                place of :attr:`score`.
            min_area: Least share of the picture of a class, a segment or an instance.
            pixel_scores: See :meth:`RuntimeModel.segment`; for semantic results.
            scores: See there; segments and instances have scores anyway.

        Returns:
            A :class:`Segmentation`, :class:`PanopticSegmentation` or :class:`Detections`; a list of them for several
            pictures.

        Raises:
            UnreadableImageError: If a file cannot be read.
            UserError: If it is no picture, or the model cannot tell these words apart.
        """
        pictures, several = pictures_of(image, channel_order)
        wishes = Wishes(min_confidence, min_area, pixel_scores, scores)
        asked = self._asked(self.vocabulary if classes is None else Vocabulary.of(classes))
        flags = self._flags(asked.vocabulary, things)
        found = [self._found(picture, asked, flags, wishes) for picture in pictures]
        return found if several else found[0]

    def _found(self, picture: ReadPicture, asked: Asked, things: tuple[bool, ...], wishes: Wishes) -> Any:
        queries = self._queries(extend(picture.rgb), asked)
        vocabulary, (height, width) = asked.vocabulary, picture.rgb.shape[:2]
        palette = self._palette(vocabulary, vocabulary.names)
        if self.task == 'semantic':
            return self._segmentation(picture, asked, self._answer(queries, asked, wishes))
        if self.task == 'panoptic':
            ids, segments = panoptic_segments(queries, self._rule, things)
            ids = np.ascontiguousarray(ids[:height, :width])
            result = PanopticSegmentation.of(ids, segments, vocabulary, palette, picture.rgb, picture.source)  # type: ignore[arg-type]
            return result.above(wishes.min_confidence or 0.0, wishes.min_area or 0.0)
        least = self.score if wishes.min_confidence is None else wishes.min_confidence
        found = instances(queries, self._rule, things, (height, width), least, wishes.min_area or 0.0)
        limit = np.array([width, height, width, height], dtype=np.float32)
        return Detections(
            np.minimum(found.boxes, limit),
            found.labels,
            found.scores,
            found.masks,
            vocabulary.names,
            palette,
            picture.rgb,
            picture.source,
        )

    def _queries(self, rgb: np.ndarray, asked: Asked) -> Queries:
        """Masks and classes of a picture (H, W, 3)."""
        inputs, valid = prepare(rgb, self.manifest.picture)
        names = ['masks', 'trained', 'clip', *(['valid'] if self._rule.valid else [])]
        masks, *scores = self.model.run(names, self._feeds(inputs, asked))
        trained, clip, *more = (part[0] for part in scores)
        groups = asked.vocabulary.groups
        classes, nothing = class_probabilities(self._rule, groups, trained, clip, more[0] if more else None)
        size = inputs.shape[2], inputs.shape[3]
        return Queries(masks[0], classes, nothing, size, valid, (rgb.shape[0], rgb.shape[1]))

    def _answer(self, queries: Queries, asked: Asked, wishes: Wishes) -> Answer:
        count = queries.classes.shape[1]
        none = np.zeros(count, dtype=bool)
        if not wishes.scores:
            return Answer(semantic_labels(queries, self._rule), None, none, None)
        best = 1 / (1 + np.exp(-queries.masks.reshape(len(queries.masks), -1).max(axis=1, keepdims=True)))
        found = Confidences((queries.classes * best).max(axis=0).astype(np.float32), PROBABILITY)

        def labels(left_out: np.ndarray) -> np.ndarray:
            return semantic_labels(queries, self._rule, left_out if left_out.any() else None)

        chosen, left_out = wanted(labels, count, asked.vocabulary, found, wishes)
        if not wishes.pixel_scores:
            return Answer(chosen, found, left_out, None)
        planes = semantic_scores(queries, self._rule)
        planes[left_out] = 0
        return Answer(chosen, found, left_out, planes)
