"""Inference that ends in a label map, whatever the number of classes and windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from denseclip.core.placement import Box, Placement, Size, Windows, size_of, slide_boxes
from denseclip.models.functional.open_vocab import thresholded_labels
from denseclip.models.pixel_head import PixelHead, PixelTexts
from denseclip.models.pixel_trail import PixelRequest, PixelTrail
from denseclip.models.retrieval_head import PixelRNSHead, fitted_to
from denseclip.structures.word_scores import ScoreRequest, WordScores

from .refined_slide import Refine, refined_maps
from .score_maps import ScoreMaps
from .word_scoring import Comparison, gather, label_wanted, patches_inside, score_words


class LabelMapInference:
    """Mix-in for MMSeg's ``EncoderDecoder``: label maps without K full-size planes, windows in batches.

    ``test_cfg`` knows, besides MMSeg's ``mode``, ``crop_size`` and ``stride``:

    * ``keep_logits`` (False): also return ``seg_logits`` in the picture's size, K x H x W numbers, as MMSeg does.
      Test-time augmentation needs it and sets it.
    * ``window_batch`` (1): how many windows are run at once in sliding mode.
    * ``refine`` (None): arguments of :class:`.refined_slide.Refine`, ``dict(budget=0.5)`` and the like: the whole
      picture at half size, then as few windows as cover it, where it was not sure. Data samples say in their meta
      information (``refinement``) how many windows were run and what they changed. Label maps alone are refined: where
      scores of pixels or words are asked for, all windows are run.
    """

    test_cfg: ConfigDict
    align_corners: bool
    keep_logits: bool = False
    background_of_masks = False
    score_request: ScoreRequest | None = None
    """What is wanted besides labels; None: nothing, which costs nothing."""
    pixel_head: PixelHead | None = None
    """Corrects the scores of words by embeddings of pixels, where :attr:`has_pixel_features`; None: nothing does."""
    has_pixel_features = False
    pixel_request: PixelRequest = PixelRequest()
    """What is wanted of the embeddings of pixels besides labels; a background by a head asks for strangeness anyway."""
    _trail: PixelTrail | None = None

    @property
    def whole_multiple(self) -> Size:
        """What height and width of a picture should be multiples of, so that scores cover it and no more."""
        return 1, 1

    def viewing(
        self, inputs: Tensor, samples: Sequence[SegDataSample], placements: Sequence[Placement]
    ) -> AbstractContextManager[Any]:
        """A context in which the model knows what else is to be known of the padded pictures that it reads."""
        del inputs, samples, placements
        return nullcontext()

    def look_at(self, boxes: Sequence[Box]) -> None:
        """Say which windows of those pictures are read next."""

    def head_logits(self, inputs: Tensor) -> Tensor:
        """Logits at the resolution of the head, (N, K, h, w)."""
        return self._forward(inputs)  # type: ignore[attr-defined]

    def head_scores(self, inputs: Tensor) -> tuple[Tensor, Comparison | None]:
        """Those logits and, if scores of words are wanted and the model knows other words, how those are scored."""
        return self.head_logits(inputs), None

    def predict(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> list[SegDataSample]:
        """Segment a batch.

        Args:
            inputs: preprocessed images, (N, 3, H, W).
            data_samples: their meta information; without it results have the input's size.

        Returns:
            Data samples with ``pred_sem_seg`` (1, H, W) and, with ``keep_logits``, ``seg_logits`` (K, H, W). With
            :attr:`score_request`, ``word_scores`` and, if asked for, ``pixel_scores`` (K, H, W): probabilities. With
            :attr:`pixel_request`, ``strangeness`` (1, H, W), and ``pixel_windows`` in the meta information. Models
            that choose classes add ``class_choice``, see :class:`.choosing.ChoosesClasses`.
        """
        if isinstance(self.pixel_head, PixelRNSHead):
            return self._predict_each(inputs, data_samples)
        with self._keeping_trail() as trail:
            samples = self._predict(inputs, data_samples)
        return self._after_trail(trail, inputs, samples)

    def _predict_each(self, inputs: Tensor, data_samples: list[SegDataSample] | None) -> list[SegDataSample]:
        """See :meth:`predict`; each picture by a classifier of its own."""
        found = []
        for n, sample in enumerate(data_samples or [SegDataSample() for _ in inputs]):
            with fitted_to(self, inputs[n : n + 1], sample):
                found += self.predict(inputs[n : n + 1], [sample])
        return found

    def _predict(self, inputs: Tensor, data_samples: list[SegDataSample] | None) -> list[SegDataSample]:
        """See :meth:`predict`, without what pixels leave behind."""
        flipped = any(s.metainfo.get('flip') for s in data_samples or ())
        wants_logits = self.keep_logits or flipped or self.align_corners
        if self.binary or (wants_logits and self.num_channels() > 1):
            # MMSeg runs a window of all pictures at a time; what pixels leave behind is kept picture by picture.
            parts = [slice(n, n + 1) for n in range(len(inputs))] if self._trail is not None else [slice(None)]
            samples = []
            for part in parts:
                own = None if data_samples is None else data_samples[part]
                samples += super().predict(inputs[part], own)  # type: ignore[misc]
            if self._least_score is not None:
                for sample in samples:
                    sample.pred_sem_seg.data = self._blanked(sample.seg_logits.data)[None]
            return samples
        samples = data_samples or [SegDataSample() for _ in inputs]
        # int64 as MMSeg's: a uint8 tensor indexes as a mask, CityscapesMetric writes -1, ignored labels may be 65535.
        for sample, (labels, words, pixels) in zip(samples, self._label_maps(inputs, samples), strict=True):
            sample.set_data({'pred_sem_seg': PixelData(data=labels.long().unsqueeze(0))})
            if words is not None:
                sample.set_data({'word_scores': words})
            if pixels is not None:
                sample.set_data({'pixel_scores': PixelData(data=pixels)})
        return samples

    # --- backgrounds, and what pixels leave behind ---------------------------------------------------------------

    @contextmanager
    def _keeping_trail(self) -> Iterator[PixelTrail | None]:
        """Keep what is wanted of the pixels of a batch while it is labelled.

        Raises:
            ValueError: If that needs a head and there is none.
        """
        request = self.pixel_request
        if self.has_pixel_features and self.vocabulary.most_strange is not None:  # type: ignore[attr-defined]
            request = replace(request, strangeness=True)
        self._trail = PixelTrail.of(self, request)
        try:
            yield self._trail
        finally:
            self._trail = None

    def _after_trail(
        self, trail: PixelTrail | None, inputs: Tensor, samples: list[SegDataSample]
    ) -> list[SegDataSample]:
        """Give data samples what was kept, and the background of a head where the words ask for one."""
        if trail is None:
            return samples
        most = self.vocabulary.most_strange  # type: ignore[attr-defined]
        for sample, strange in zip(samples, trail.leave(self, inputs, samples), strict=True):
            if strange is None:
                continue
            sample.set_data({'strangeness': PixelData(data=strange[None])})
            if most is not None:
                labels = sample.pred_sem_seg.data
                sample.pred_sem_seg.data = labels.masked_fill(strange[None] > most, self._background)
        return samples

    def by_head(self, logits: Tensor, features: Tensor, texts: PixelTexts) -> Tensor:
        """Scores of the words as :attr:`pixel_head` corrects them; what is wanted of the pixels is kept.

        Args:
            logits: Of the words.
            features: Pixel embeddings.
            texts: What they were compared with.

        Shape:
            - logits and result: :math:`(N, K, h, w)`; features: :math:`(N, D, h, w)`
        """
        if self._trail is not None:
            self._trail.see(features)
        if self.pixel_head is None:
            return logits
        return self.pixel_head(logits, features, self.vocabulary, texts)  # type: ignore[attr-defined]

    @property
    def _least_score(self) -> float | None:
        """Probability that the best class must reach; None: every pixel gets one."""
        words = getattr(self, 'vocabulary', None)
        return None if words is None else words.least_score

    @property
    def _background(self) -> int:
        """Label of what is none of the words."""
        return len(self.vocabulary)  # type: ignore[attr-defined]

    def _labels(self, maps: ScoreMaps, placement: Placement) -> Tensor:
        """Label map of a picture in its own size."""
        if self._least_score is None:
            return maps.label_map(placement)
        return self._blanked(placement.finish(maps.full(placement)))

    def _blanked(self, logits: Tensor) -> Tensor:
        """Labels (H, W) of logits (K, H, W), the background where the best class is not probable enough."""
        return thresholded_labels(logits.softmax(dim=0), self._background, self._least_score)[0]

    def labels_of_scores(self, scores: Tensor) -> Tensor:
        """Labels of probabilities that were averaged over views, the background where the best is not enough.

        Raises:
            ValueError: If there is a background that is made of masks.

        Shape:
            - scores: :math:`(K, H, W)`; result: :math:`(H, W)`
        """
        if self.background_of_masks and self.num_classes > len(scores):  # type: ignore[attr-defined]
            raise ValueError(
                f'{type(self).__name__} makes its background of masks, not of scores that can be averaged over views: '
                'test without --tta, or list the words of the background as a class.'
            )
        if self._least_score is None:
            return scores.argmax(dim=0)
        return thresholded_labels(scores, self._background, self._least_score)[0]

    def num_channels(self) -> int:
        """Number of logit channels."""
        return self.out_channels  # type: ignore[attr-defined]

    @property
    def binary(self) -> bool:
        """Whether one logit is thresholded, MMSeg's way of two classes."""
        return self.num_channels() == 1 and self.decode_head.threshold is not None  # type: ignore[attr-defined]

    def _label_maps(
        self, inputs: Tensor, samples: Sequence[SegDataSample]
    ) -> Iterator[tuple[Tensor, WordScores | None, Tensor | None]]:
        """Label map of each picture in its original size and, if wanted, its words' scores, and those of its pixels."""
        slide = self.test_cfg.get('mode', 'whole') == 'slide'
        whole = None if slide else self.head_scores(inputs)
        for i, sample in enumerate(samples):
            placement = Placement.of(sample.metainfo, size_of(inputs))
            if whole is not None:
                maps = ScoreMaps([whole[0][i]], None)
                others = None if whole[1] is None else [whole[1].split()[i]]
            else:
                maps, others = self._slide(inputs[i : i + 1], sample)
            yield self._wanted(maps, others, placement)

    def _wanted(
        self, maps: ScoreMaps, others: list[Comparison] | None, placement: Placement
    ) -> tuple[Tensor, WordScores | None, Tensor | None]:
        """What :attr:`score_request` asks of one picture."""
        request = self.score_request
        if request is None:
            return self._labels(maps, placement), None, None
        words = score_words(request, maps.maps, patches_inside(maps, placement), others)

        def label(left_out: Tensor | None) -> Tensor:
            return self._labels(maps if left_out is None else maps.without(left_out), placement)

        labels, words = label_wanted(request, words, label, self.num_channels())
        pixels = placement.finish(maps.full(placement)) if request.pixel_scores else None
        return labels, words, None if pixels is None else words.probabilities(pixels)

    def _slide(self, inputs: Tensor, sample: SegDataSample) -> tuple[ScoreMaps, list[Comparison] | None]:
        """Scores of the windows of one picture, and how unrelated words are scored on each."""
        refine = Refine.of(self.test_cfg.get('refine'))
        if refine is None or refine.budget == 1 or self._needs_all_windows:
            return gather(*self._windows(inputs))
        boxes, _ = self._windows(inputs)
        batch = self.test_cfg.get('window_batch', 1)
        maps, report = refined_maps(inputs, boxes, refine, self.head_logits, batch, self.whole_multiple)
        sample.set_metainfo(report.meta())
        return maps, None

    @property
    def _needs_all_windows(self) -> bool:
        """Whether more is wanted than a label map."""
        asked = self.score_request is not None or self._trail is not None
        return asked or self.keep_logits or self._least_score is not None

    def _windows(self, inputs: Tensor) -> tuple[list[Box], Iterator[tuple[Tensor, Comparison | None]]]:
        """Boxes of all windows, and their :meth:`head_scores` (windows x N, ...) in batches of ``window_batch``."""
        boxes = slide_boxes(size_of(inputs), self.test_cfg['crop_size'], self.test_cfg['stride'])

        def run() -> Iterator[tuple[Tensor, Comparison | None]]:
            queue = iter(boxes)
            while group := list(islice(queue, self.test_cfg.get('window_batch', 1))):
                self.look_at(group)
                yield self.head_scores(torch.cat([inputs[:, :, box[0] : box[1], box[2] : box[3]] for box in group]))

        return boxes, run()

    def one_by_one(self, inputs: Tensor, boxes: Sequence[Box]) -> Iterator[Tensor]:
        """Pixels (1, 3, h, w) of each window in turn, for ``head_logits`` as long as the next is not asked for."""
        for box in boxes:
            self.look_at([box])
            yield inputs[:, :, box[0] : box[1], box[2] : box[3]]

    def slide_inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Mean of the windows' logits in the input's size, (N, K, H, W); equal to MMSeg's, in batches of windows."""
        del batch_img_metas
        boxes, groups = self._windows(inputs)
        windows = (window for logits, _ in groups for window in logits.split(inputs.shape[0]))
        return Windows(boxes, size_of(inputs)).mean(windows, self.align_corners)
