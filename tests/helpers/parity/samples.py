"""MMSeg data samples around plain tensors."""

from __future__ import annotations

from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from .fixtures import Fixture

IGNORE = 255


def data_samples(label: Tensor) -> list[SegDataSample]:
    """Samples with ground truth (B, 1, H, W)."""
    size = tuple(label.shape[-2:])
    samples = [SegDataSample(gt_sem_seg=PixelData(data=item.long())) for item in label]
    for sample in samples:
        sample.set_metainfo(dict(img_shape=size, pad_shape=size, ori_shape=size))
    return samples


def plain_sample(size: tuple[int, int], ori_shape: tuple[int, int], flip: bool = False) -> SegDataSample:
    """Sample without ground truth."""
    sample = SegDataSample()
    flipping = dict(flip=flip, flip_direction='horizontal' if flip else None)
    sample.set_metainfo(dict(img_shape=size, pad_shape=size, ori_shape=ori_shape, img_path='none', **flipping))
    return sample


def expected_accuracy(fixture: Fixture, name: str, accuracy: Tensor, label: Tensor) -> None:
    """Compare an accuracy with the reference's, which divides by all pixels instead of the valid ones."""
    valid = (label != IGNORE).sum() / label.numel()
    fixture.expect(name, accuracy * valid)
