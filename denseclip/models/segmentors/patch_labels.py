"""From scores of patches to what is asked of a picture: labels, scores, and which classes took part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor

from denseclip.clip.text_bank import TextEmbeddings
from denseclip.clip.towers import ImageTower, TowerOutput, ViTTower
from denseclip.core.class_embeddings import ClassEmbeddings
from denseclip.core.placement import Placement, Size, size_of, upper_left
from denseclip.models.functional.open_vocab import merge_names, region_labels
from denseclip.structures.active_vocabulary import SCORERS, ActiveVocabulary, ClassChoice
from denseclip.structures.word_scores import ScoreRequest, WordScores

from .choosing import ChoosesClasses
from .patch_choice import Chooser, Seen, View
from .post_processing import PostProcessing, class_probabilities
from .region_view import SeesRegions
from .score_maps import ScoreMaps
from .spliced_windows import SplicesWindows
from .spreading import LabelPropagation
from .whole_picture import WholePictureInference
from .word_scoring import Comparison, label_wanted, patches_inside, score_words

_NEEDS_POOLED = ('picture', 'mixed')


class LabelsPatches(SeesRegions, SplicesWindows, ChoosesClasses, WholePictureInference, BaseSegmentor):
    """The part of :class:`.open_vocab.OpenVocabularySegmentor` behind :meth:`head_scores`."""

    tower: ImageTower
    text: ClassEmbeddings
    post: PostProcessing
    spread: LabelPropagation | None
    scale: float
    output: str
    stretch: bool
    active_scorers = tuple(SCORERS)
    _seen: list[Seen] | None = None

    # --- which classes take part --------------------------------------------------------------------------------

    def check_active(self, active: ActiveVocabulary) -> None:
        """See :meth:`ChoosesClasses.check_active`."""
        super().check_active(active)
        if active.scorer == 'agreement' and (not isinstance(self.tower, ViTTower) or self._own_weights_from):
            raise ValueError(
                "active_vocabulary: 'agreement' reads the attention of a CLIP vision transformer's blocks, which "
                f'{type(self).__name__} with {type(self.tower).__name__} does not offer; choose another scorer.'
            )
        one = 'join' if self.join is not None else 'sam' if self.sam is not None else None
        if one is not None and active.scorer in (*_NEEDS_POOLED, 'agreement'):
            raise ValueError(
                f"active_vocabulary: '{active.scorer}' reads each window to its end, which {one} does not; choose "
                "'dense' or 'crops'."
            )
        if active.scorer == 'agreement' and getattr(self.tower, 'deep_prompts', None) is not None:
            raise ValueError(
                "active_vocabulary: 'agreement' compares patches with each other, and deep prompts (MaPLe) stand among "
                'those here; choose another scorer.'
            )
        if active.relabel and self.output != 'probabilities':
            raise ValueError("active_vocabulary: relabel=True needs output='probabilities'.")

    @property
    def _own_weights_from(self) -> bool:
        """Whether the method itself reads attention weights."""
        asked = self._active is not None and self._active.scorer == 'agreement'
        return bool(self.tower.read_out.weights_from) and not asked

    def active_changed(self) -> None:
        """Let the tower read what a choice needs, and no more."""
        active, before = self._active, self.__dict__.get('_read_before')
        if before is not None:
            self.tower.read_out = before
            self.tower.read_also()
        self._read_before = self.tower.read_out
        if active is not None and active.scorer in _NEEDS_POOLED:
            self.tower.read_also(pooled=True)
        if active is not None and active.scorer == 'agreement':
            assert isinstance(self.tower, ViTTower)
            self.tower.read_also(weights_from=tuple(range(len(self.tower.drop_rates) - 1)), weights_of_heads=False)

    def noted(self, out: TowerOutput) -> TowerOutput:
        """The same output; what a choice needs of it is kept."""
        active = self._active
        if self._seen is None or active is None:
            return out
        count = 0 if out.dense is None else len(out.dense)
        pooled = out.pooled if active.scorer in _NEEDS_POOLED else None
        weights = None
        if active.scorer == 'agreement' and out.weights is not None:
            weights = out.weights[:, 0, 1:, 1:]
        for n in range(count):
            self._seen.append(
                Seen(None if pooled is None else pooled[n], None if weights is None else weights[n].contiguous())
            )
        return out

    def _crop_embeddings(self, crops: Tensor) -> Tensor:
        with self.tower.reading(dense=False, pooled=True, keys=None, weights_from=()):
            pooled = self.tower(crops).pooled
        assert pooled is not None
        return pooled

    def _choose(
        self, maps: ScoreMaps, seen: list[Seen], placement: Placement, image: Tensor
    ) -> tuple[ClassChoice | None, ScoreMaps]:
        """The classes that take part, and the maps of all classes that labels are to be taken from."""
        given = self.given_choice(image.device)
        if given is not None or self._active is None:
            return given, maps
        if self._active.relabel and self._says_no:
            raise ValueError(
                "active_vocabulary: relabel=True makes maps of the classes alone, and background='clipn' has one more: "
                'set relabel=False, or choose another background.'
            )
        text = self.class_embeddings()
        rows, classes = self._class_logits(maps)
        insides = patches_inside(maps, placement)
        windows = [upper_left(size_of(image))] if maps.boxes is None else maps.boxes
        views = [
            View(logits if classes is None else classes(logits), inside, one, image[:, top:bottom, left:right])
            for logits, inside, one, (top, bottom, left, right) in zip(rows, insides, seen, windows, strict=True)
        ]
        chooser = Chooser(
            self._active,
            text,
            self.scale,
            self._crop_embeddings,
            text.num_rows if classes is not None else None,
            self._always_kept(),
        )
        return chooser.choose(views, maps, placement.cut(image))

    def _always_kept(self) -> int | None:
        """The class that stands for everything else, where there is one."""
        if self.vocabulary.background_names:
            return len(self.vocabulary)
        label = self._background_label(self.vocabulary.least_score)
        return label if label is not None and label < len(self.text.names) else None

    @contextmanager
    def viewing(
        self,
        inputs: Tensor,
        samples: Sequence[SegDataSample],
        placements: Sequence[Placement],
        regions: Sequence[Tensor | None] | None = None,
    ) -> Iterator[None]:
        """See :meth:`SeesRegions.viewing` and :meth:`WholePictureInference.knowing`."""
        with super().viewing(inputs, samples, placements, regions), self.knowing(inputs):
            yield

    @property
    def whole_multiple(self) -> Size:
        """See :class:`.label_inference.LabelMapInference`: whole patches."""
        return self.tower.multiple

    @property
    def _needs_all_windows(self) -> bool:
        """See :class:`.label_inference.LabelMapInference`: a choice, and regions in view, are of all windows."""
        return super()._needs_all_windows or self._active is not None or self.scoped

    # --- pictures one by one ------------------------------------------------------------------------------------

    def _results(
        self, inputs: Tensor, samples: Sequence[SegDataSample], scored: bool
    ) -> Iterator[tuple[Tensor, Tensor | None, WordScores | None]]:
        """Label map and, if asked for, class scores and scores of the words of each picture in its original size."""
        if self.sam is not None:
            yield from self._spliced_results(inputs, samples, scored)
            return
        slide = self.test_cfg.mode == 'slide'
        padded = inputs if self.stretch else self.pad(inputs, self.test_cfg.crop_size if slide else None)
        placements = [Placement.of(sample.metainfo, size_of(inputs), size_of(padded)) for sample in samples]
        whole, self._seen = None, []
        try:
            if not slide:
                regions = [self.regions_of(*one) for one in zip(padded, placements, samples, strict=True)]
                with self.viewing(padded, samples, placements, regions):
                    whole = self.head_scores(padded)
            for i, (sample, placement) in enumerate(zip(samples, placements, strict=True)):
                if whole is not None:
                    maps, seen, own = ScoreMaps([whole[0][i]], None), self._seen[i : i + 1], regions[i]
                    others = None if whole[1] is None else [whole[1].split()[i]]
                else:
                    self._seen, own = [], self.regions_of(padded[i], placement, sample)
                    with self.viewing(padded[i : i + 1], [sample], [placement], [own]):
                        maps, others = self._slide(padded[i : i + 1], sample)
                    seen = self._seen
                yield self._wanted_results(maps, others, seen, placement, padded[i], sample, scored, own)
        finally:
            self._seen = None

    def _wanted_results(
        self,
        maps: ScoreMaps,
        others: list[Comparison] | None,
        seen: list[Seen],
        placement: Placement,
        image: Tensor,
        sample: SegDataSample,
        scored: bool,
        regions: Tensor | None,
    ) -> tuple[Tensor, Tensor | None, WordScores | None]:
        """What is asked of one picture."""
        request, scores, without = self.score_request, None, None
        # Of scores that have not travelled: those of unrelated words do not either, and lie on the same grid.
        words = None if request is None else self._score_words(request, maps, others, placement)
        choice, maps = self._choose(maps, seen, placement, image)
        kept = None if choice is None else choice.kept
        if choice is not None:
            sample.set_data({'class_choice': choice})
            maps = maps.only(self._rows_of(choice.kept, len(maps.maps[0])))
        if self.spread is not None:
            maps = self.spread(maps, image, self.affinity, self.tower.preprocess, placement)
        wants_scores = scored or (request is not None and request.pixel_scores)

        def label(left_out: Tensor | None) -> Tensor:
            nonlocal scores, without
            left, some, without = maps, kept, left_out
            if left_out is not None:
                some = ~left_out
                rows = self._rows_of(some, self.num_channels())
                left = maps.only(rows if kept is None else rows[self._rows_of(kept, self.num_channels())])
            labels, scores = self._finish(left, placement, image, wants_scores or self._sam_refines, some)
            if self._sam_refines:
                labels = self._by_masks(labels, scores, image, placement)
            return labels if regions is None else region_labels(labels, regions, self.num_classes)

        if request is None or words is None:
            return label(None), scores, None
        labels, words = label_wanted(request, words, label, len(self.text.names), kept)
        if scores is not None:
            late = words.left_out if without is None else words.left_out & ~without
            if bool(late.any()) and not bool(words.left_out.all()):  # they have no pixel, but a part of the scores
                label(words.left_out)
            scores = scores.masked_fill(~self._rows_of(~words.left_out, len(scores))[:, None, None], 0.0)
        return labels, scores, words

    def _score_words(
        self, request: ScoreRequest, maps: ScoreMaps, others: list[Comparison] | None, placement: Placement
    ) -> WordScores:
        logits, merge = self._class_logits(maps)
        return score_words(request, logits, patches_inside(maps, placement), others, merge)

    def _class_logits(self, maps: ScoreMaps) -> tuple[list[Tensor], Any]:
        """Scores in units of a softmax, without CLIPN's plane, and what merges rows of names where there are such."""
        text = self.class_embeddings()
        planes = [m[:-1] for m in maps.maps] if self._says_no else maps.maps
        if self._gives_probabilities:
            logs = [m.clamp_min(torch.finfo(m.dtype).tiny).log() for m in planes]
        else:
            logs = [m * self.scale for m in planes]
        by_name = logs[0].shape[0] > len(text)
        return logs, partial(merge_names, class_index=text.class_index, num_classes=len(text)) if by_name else None

    def _rows_of(self, classes: Tensor, rows: int) -> Tensor:
        """Planes of some classes (K,) bool: planes stand for classes, or for names; that of CLIPN is always one."""
        if self._says_no:
            return torch.cat([classes, classes.new_ones(1)])
        text = self.class_embeddings()
        return classes[text.class_index] if rows > len(text) else classes

    def _finish(
        self, maps: ScoreMaps, placement: Placement, image: Tensor, scored: bool, kept: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Labels and, if needed, class scores of one picture from the scores of its windows.

        Args:
            maps: Scores of the classes that are kept.
            placement: Where the picture lies in the input.
            image: The input.
            scored: Whether scores are asked for.
            kept: Classes that are kept, (K,) bool; None: all.
        """
        threshold = self.vocabulary.least_score
        background, whole, numbers = self._background_label(threshold), self.class_embeddings(), None
        text = whole
        if kept is not None:
            text, numbers, background = _only(whole, kept, background)
        by_name = not self._gives_probabilities and len(maps.maps[0]) > len(text)
        picture = placement
        maps, placement = self.post.along_edges(maps, placement, image, text.embeddings)
        if not scored and threshold is None and not self.post.needs_scores:
            labels = maps.label_map(placement)
            labels = text.class_index[labels.long()] if by_name else labels
            return (labels if numbers is None else numbers[labels.long()]), None
        rows = placement.finish(maps.full(placement))
        if self.post.pamr is not None:
            rows = self.post.refine(rows, picture.finish(image))
        scores = rows if self._gives_probabilities else class_probabilities(rows, text, self.scale)
        labels, scores = self.post.labels(scores, threshold, background)
        if numbers is None or kept is None:
            return labels, scores
        planes = scores.new_zeros(len(whole) + len(scores) - len(text), *scores.shape[1:])
        planes[self._rows_of(kept, len(whole))] = scores
        return numbers[labels], planes

    def _background_label(self, threshold: float | None) -> int | None:
        """Label of pixels below a threshold."""
        has_own = threshold is not None or self._says_no
        return self.post.background_label(self.text.names, has_own)


def _only(text: TextEmbeddings, kept: Tensor, background: int | None) -> tuple[TextEmbeddings, Tensor, int | None]:
    """Embeddings of the classes that are kept, the label of each, and the background among them.

    Labels of a background that is none of them come last.
    """
    numbers = kept.nonzero()[:, 0]
    some = text.only(kept)
    if background is None:
        return some, numbers, None
    place = int(kept[:background].sum()) if background < len(kept) and bool(kept[background]) else len(numbers)
    return some, torch.cat([numbers, numbers.new_tensor([background])]), place
