"""An exported two-stage model: masks of one graph, pictures of which another one compares with words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from denseclip.apis.confidence import Wishes
from denseclip.apis.images import Picture as ReadPicture
from denseclip.apis.segmentation import Segmentation, result_names
from denseclip.clip.vocabulary import Vocabulary
from denseclip.runtime.confidences import Confidences
from denseclip.runtime.graphs import session
from denseclip.runtime.kinds import Regions
from denseclip.runtime.label_maps import label_type
from denseclip.runtime.mask_results import Queries, log_softmax, merged_planes, sigmoid
from denseclip.runtime.model import RuntimeModel
from denseclip.runtime.pictures import extend, prepare
from denseclip.runtime.region_classes import MaskClasses, class_logits
from denseclip.runtime.region_crops import MaskPlanes, cut_out, look, relative
from denseclip.runtime.results import Answer, Asked, wanted
from denseclip.structures.word_scores import PROBABILITY

OTHERS = 'others'
"""What a single class name is told apart from."""


class RuntimeRegionModel(RuntimeModel):
    """An exported OVSeg, see :class:`RuntimeModel`."""

    gives = 'regions'

    def _begin(self) -> None:
        super()._begin()
        file = self.manifest.files.get('regions')
        self._regions = (
            None if file is None else session(self.folder / file, self._threads, self._trust, self._precision)
        )

    @property
    def _rule(self) -> Regions:
        return self.manifest.rule

    def _accepted(self, vocabulary: Vocabulary) -> Vocabulary:
        """With the best masks alone every vocabulary has a background, for pixels that nothing fits."""
        if self._rule.selection != 'best' or vocabulary.background != 'none':
            return vocabulary
        if len(vocabulary) == 1:
            return replace(vocabulary, background='prompts', background_names=(OTHERS,))
        return replace(vocabulary, background='learned')

    def _check(self, vocabulary: Vocabulary) -> None:
        super()._check(self._accepted(vocabulary))

    def _asked(self, vocabulary: Vocabulary) -> Asked:
        return super()._asked(self._accepted(vocabulary))

    def _segment(self, picture: ReadPicture, asked: Asked, wishes: Wishes) -> Segmentation:
        rgb = extend(picture.rgb)
        inputs, valid = prepare(rgb, self.manifest.picture)
        found = self.model.run(['masks', 'trained'], self._feeds(inputs, asked))
        masks, trained = (part[0] for part in found)
        planes = MaskPlanes(masks, (inputs.shape[2], inputs.shape[3]), valid)
        classes = self._classes(planes, trained, self._colours(inputs, planes), asked)
        out = (rgb.shape[0], rgb.shape[1])
        return self._segmentation(picture, asked, _Results(planes, classes, self._rule, asked, out).answer(wishes))

    def _colours(self, inputs: np.ndarray, planes: MaskPlanes) -> np.ndarray:
        """The picture without padding, (3, H, W) in 0..255."""
        top, bottom, left, right = planes.valid
        steps = self.manifest.picture
        mean, std = (np.array(value, dtype=np.float32)[:, None, None] for value in (steps.mean, steps.std))
        return inputs[0, :, top:bottom, left:right] * std + mean

    def _classes(self, masks: MaskPlanes, trained: np.ndarray, image: np.ndarray, asked: Asked) -> MaskClasses:
        """Classes of masks by both stages."""
        count, seen = max(asked.groups) + 1, look(masks, self._rule)
        first = log_softmax(class_logits(trained, asked.groups, count))[:, :count]
        if self._regions is None:
            return MaskClasses.of(self._rule, first, None, np.ones_like(seen.filled), seen.filled)
        assert asked.text is not None
        own = np.flatnonzero(seen.filled & (seen.stand_in == np.arange(len(masks))))
        embeddings = np.zeros((len(masks), asked.text.shape[1]), dtype=np.float32)
        source = relative(image, self._rule)
        for start in range(0, len(own), self._rule.at_once):
            some = own[start : start + self._rule.at_once]
            pictures, frames = zip(*(cut_out(source, masks[number], self._rule) for number in some), strict=True)
            feeds = {'pictures': np.stack(pictures), **({'masks': np.stack(frames)} if self._rule.prompted else {})}
            embeddings[some] = self._regions.run(None, feeds)[0]
        valid = (seen.stand_in >= 0) & seen.filled[seen.stand_in]
        logits = np.float32(self._rule.scale) * embeddings[np.maximum(seen.stand_in, 0)] @ asked.text.T
        second = log_softmax(class_logits(logits, asked.groups, count))
        return MaskClasses.of(self._rule, first, second, valid, seen.filled)


class _Results:
    """From classified masks to what was wished for.

    Args:
        masks: The masks.
        classes: Their classes.
        rule: How they are put together.
        asked: What is told apart.
        out: Size of the result.
    """

    def __init__(
        self, masks: MaskPlanes, classes: MaskClasses, rule: Regions, asked: Asked, out: tuple[int, int]
    ) -> None:
        self.masks, self.classes, self.rule, self.vocabulary = masks, classes, rule, asked.vocabulary
        self.names = result_names(self.vocabulary)
        self.blanks = self.vocabulary.background == 'learned' or rule.selection == 'best'
        self.queries = Queries(masks.logits, classes.scores, classes.scores[:, 0], masks.padded, masks.valid, out)
        self.wants_planes = False
        self.planes: np.ndarray | None = None
        self.decided: dict[str, str] = {}

    def answer(self, wishes: Wishes) -> Answer:
        """Labels, and what else was wished for."""
        count, none = self.classes.scores.shape[1], np.zeros(self.classes.scores.shape[1], dtype=bool)
        if not wishes.scores:
            return Answer(self.label(none), None, none, None, self.decided)
        best = (self.classes.scores * self.classes.filled[:, None]).max(axis=0)
        found = Confidences(best.clip(0, 1).astype(np.float32), PROBABILITY)
        self.wants_planes = wishes.pixel_scores
        nothing = len(self.vocabulary) if self.blanks else count
        labels, left_out = wanted(self.label, nothing, self.vocabulary, found, wishes)
        planes = None if self.planes is None else np.where(left_out[:, None, None], 0, self.planes.clip(0, 1))
        return Answer(labels, found, left_out, planes, self.decided)

    def label(self, left_out: np.ndarray) -> np.ndarray:
        """Labels without some classes, bool (K,)."""
        some = left_out if left_out.any() else None
        scores, numbers, shares = self.classes.scores, np.arange(len(self.masks)), sigmoid
        if self.rule.selection == 'best':
            numbers = self.classes.best(some, bool(self.vocabulary.background_names))
            self.decided = self.classes.deciders(numbers, some, self.names)
            shares = self._inside
        left = np.flatnonzero(~left_out)
        weights = np.where(left_out, np.float32(-1), scores)[numbers].T
        weights = weights if self.wants_planes else weights[left]
        labels = np.empty(self.queries.out, dtype=label_type(len(self.names) + 1))
        self.planes = np.empty((len(weights), *labels.shape), np.float32) if self.wants_planes else None
        for band, planes in merged_planes(self.queries.only(numbers), weights, shares):
            best = planes.argmax(axis=0)
            labels[band] = best if self.planes is not None else left[best]
            if self.planes is not None:
                self.planes[:, band] = planes
        if self.blanks:
            (_, below), (_, beside) = self.queries.axes()
            union = self.masks.union(numbers, self.rule.threshold).astype(np.float32)
            labels[below.astype(np.float32) @ union @ beside.astype(np.float32).T <= 0] = len(self.vocabulary)
        return labels

    def _inside(self, logits: np.ndarray) -> np.ndarray:
        return (sigmoid(logits) > self.rule.threshold).astype(np.float32)
