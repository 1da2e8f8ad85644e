"""Inference that ends in a label map, whatever the number of classes and windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.models.utils import resize
from mmseg.structures import SegDataSample
from torch import Tensor

from denseclip.models.functional.label_map import Box
from denseclip.models.functional.tiled_label_map import tiled_label_map


def slide_boxes(size: tuple[int, int], crop: Sequence[int], stride: Sequence[int]) -> list[Box]:
    """Windows of sliding inference as MMSeg places them: the last row and column are anchored at the border.

    Args:
        size: height and width of the network's input.
        crop: height and width of a window.
        stride: vertical and horizontal step.

    Returns:
        ``(top, bottom, left, right)`` per window, row by row; all of one size.
    """

    def spans(length: int, window: int, step: int) -> list[tuple[int, int]]:
        count = max(length - window + step - 1, 0) // step + 1
        ends = [min(i * step + window, length) for i in range(count)]
        return [(max(end - window, 0), end) for end in ends]

    rows, columns = (spans(*args) for args in zip(size, crop, stride, strict=True))
    return [(top, bottom, left, right) for top, bottom in rows for left, right in columns]


class LabelMapInference:
    """Mix-in for MMSeg's ``EncoderDecoder``: label maps without K full-size planes, windows in batches.

    ``test_cfg`` knows, besides MMSeg's ``mode``, ``crop_size`` and ``stride``:

    * ``keep_logits`` (False): also return ``seg_logits`` in the picture's size, K x H x W numbers, as MMSeg does.
      Test-time augmentation needs it and sets it.
    * ``window_batch`` (1): how many windows are run at once in sliding mode.
    """

    test_cfg: ConfigDict
    align_corners: bool
    keep_logits: bool = False

    def head_logits(self, inputs: Tensor) -> Tensor:
        """Logits at the resolution of the head, (N, K, h, w)."""
        return self._forward(inputs)  # type: ignore[attr-defined]

    def predict(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> list[SegDataSample]:
        """Segment a batch.

        Args:
            inputs: preprocessed images, (N, 3, H, W).
            data_samples: their meta information; without it results have the input's size.

        Returns:
            Data samples with ``pred_sem_seg`` (1, H, W) and, with ``keep_logits``, ``seg_logits`` (K, H, W).
        """
        flipped = any(s.metainfo.get('flip') for s in data_samples or ())
        wants_logits = self.keep_logits or flipped or self.align_corners
        if self.binary or (wants_logits and self.num_channels() > 1):
            return super().predict(inputs, data_samples)  # type: ignore[misc]
        samples = data_samples or [SegDataSample() for _ in inputs]
        # int64 as MMSeg's: a uint8 tensor indexes as a mask, CityscapesMetric writes -1, ignored labels may be 65535.
        for sample, labels in zip(samples, self._label_maps(inputs, samples), strict=True):
            sample.set_data({'pred_sem_seg': PixelData(data=labels.long().unsqueeze(0))})
        return samples

    def num_channels(self) -> int:
        """Number of logit channels."""
        return self.out_channels  # type: ignore[attr-defined]

    @property
    def binary(self) -> bool:
        """Whether one logit is thresholded, MMSeg's way of two classes."""
        return self.num_channels() == 1 and self.decode_head.threshold is not None  # type: ignore[attr-defined]

    def _label_maps(self, inputs: Tensor, samples: Sequence[SegDataSample]) -> Iterator[Tensor]:
        """Label map of each picture in its original size."""
        size = (inputs.shape[2], inputs.shape[3])
        slide = self.test_cfg.get('mode', 'whole') == 'slide'
        whole = None if slide else self.head_logits(inputs)
        for i, sample in enumerate(samples):
            meta = sample.metainfo
            left, right, top, bottom = meta.get('img_padding_size', meta.get('padding_size', (0, 0, 0, 0)))
            valid = (top, size[0] - bottom, left, size[1] - right)
            valid_size = (valid[1] - valid[0], valid[3] - valid[2])
            out_size = tuple(meta.get('ori_shape', valid_size)[:2])
            if whole is not None:
                yield tiled_label_map([whole[i]], None, size, out_size, valid)
            else:
                boxes, logits = self._windows(inputs[i : i + 1])
                yield tiled_label_map([w for group in logits for w in group], boxes, size, out_size, valid)

    def _windows(self, inputs: Tensor) -> tuple[list[Box], Iterator[Tensor]]:
        """Boxes of all windows, and their head logits (windows x N, K, h, w) in batches of ``window_batch``."""
        boxes = slide_boxes((inputs.shape[2], inputs.shape[3]), self.test_cfg['crop_size'], self.test_cfg['stride'])

        def run() -> Iterator[Tensor]:
            queue = iter(boxes)
            while group := list(islice(queue, self.test_cfg.get('window_batch', 1))):
                yield self.head_logits(torch.cat([inputs[:, :, box[0] : box[1], box[2] : box[3]] for box in group]))

        return boxes, run()

    def slide_inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Mean of the windows' logits in the input's size, (N, K, H, W); equal to MMSeg's, in batches of windows."""
        del batch_img_metas
        n, _, height, width = inputs.shape
        boxes, groups = self._windows(inputs)
        total = inputs.new_zeros((n, self.num_channels(), height, width))
        count = inputs.new_zeros((1, 1, height, width))
        queue = iter(boxes)
        for logits in groups:
            for window in logits.split(n):
                top, bottom, left, right = next(queue)
                size = (bottom - top, right - left)
                total[:, :, top:bottom, left:right] += resize(
                    window, size=size, mode='bilinear', align_corners=self.align_corners
                )
                count[:, :, top:bottom, left:right] += 1
        return total / count
