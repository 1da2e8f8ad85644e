"""Inference that ends in a label map, whatever the number of classes and windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from denseclip.core.placement import Box, Placement, Windows, size_of, slide_boxes
from denseclip.models.pixel_head import PixelHead
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
      picture once, then only the windows in which that was not sure. Data samples say in their meta information
      (``refinement``) how many windows were run and what they changed. Label maps alone are refined: where scores of
      pixels or words are asked for, all windows are run.
    """

    test_cfg: ConfigDict
    align_corners: bool
    keep_logits: bool = False
    score_request: ScoreRequest | None = None
    """What is wanted besides labels; None: nothing, which costs nothing."""
    pixel_head: PixelHead | None = None
    """Corrects the scores of words by embeddings of pixels, where :attr:`has_pixel_features`; None: nothing does."""
    has_pixel_features = False

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
            :attr:`score_request`, ``word_scores`` and, if asked for, ``pixel_scores`` (K, H, W): probabilities.
        """
        flipped = any(s.metainfo.get('flip') for s in data_samples or ())
        wants_logits = self.keep_logits or flipped or self.align_corners
        if self.binary or (wants_logits and self.num_channels() > 1):
            return super().predict(inputs, data_samples)  # type: ignore[misc]
        samples = data_samples or [SegDataSample() for _ in inputs]
        # int64 as MMSeg's: a uint8 tensor indexes as a mask, CityscapesMetric writes -1, ignored labels may be 65535.
        for sample, (labels, words, pixels) in zip(samples, self._label_maps(inputs, samples), strict=True):
            sample.set_data({'pred_sem_seg': PixelData(data=labels.long().unsqueeze(0))})
            if words is not None:
                sample.set_data({'word_scores': words})
            if pixels is not None:
                sample.set_data({'pixel_scores': PixelData(data=pixels)})
        return samples

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
            return maps.label_map(placement), None, None
        words = score_words(request, maps.maps, patches_inside(maps, placement), others)

        def label(left_out: Tensor | None) -> Tensor:
            return (maps if left_out is None else maps.without(left_out)).label_map(placement)

        labels, words = label_wanted(request, words, label, self.num_channels())
        pixels = placement.finish(maps.full(placement)) if request.pixel_scores else None
        return labels, words, None if pixels is None else words.probabilities(pixels)

    def _slide(self, inputs: Tensor, sample: SegDataSample) -> tuple[ScoreMaps, list[Comparison] | None]:
        """Scores of the windows of one picture, and how unrelated words are scored on each."""
        refine = Refine.of(self.test_cfg.get('refine'))
        if refine is None or refine.budget == 1 or self.score_request is not None or self.keep_logits:
            return gather(*self._windows(inputs))
        boxes, _ = self._windows(inputs)
        batch = self.test_cfg.get('window_batch', 1)
        maps, report = refined_maps(inputs, boxes, refine, self.head_logits, batch)
        sample.set_metainfo(report.meta())
        return maps, None

    def _windows(self, inputs: Tensor) -> tuple[list[Box], Iterator[tuple[Tensor, Comparison | None]]]:
        """Boxes of all windows, and their :meth:`head_scores` (windows x N, ...) in batches of ``window_batch``."""
        boxes = slide_boxes(size_of(inputs), self.test_cfg['crop_size'], self.test_cfg['stride'])

        def run() -> Iterator[tuple[Tensor, Comparison | None]]:
            queue = iter(boxes)
            while group := list(islice(queue, self.test_cfg.get('window_batch', 1))):
                yield self.head_scores(torch.cat([inputs[:, :, box[0] : box[1], box[2] : box[3]] for box in group]))

        return boxes, run()

    def slide_inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Mean of the windows' logits in the input's size, (N, K, H, W); equal to MMSeg's, in batches of windows."""
        del batch_img_metas
        boxes, groups = self._windows(inputs)
        windows = (window for logits, _ in groups for window in logits.split(inputs.shape[0]))
        return Windows(boxes, size_of(inputs)).mean(windows, self.align_corners)
