"""Segments from data samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample
from tiny_fcclip import semantic_samples

from denseclip.models.segmentors.mask_targets import mask_targets

CPU = torch.device('cpu')


def test_one_mask_per_class_that_is_there() -> None:
    labels = torch.tensor([[[0, 0, 3], [255, 65535, 3]], [[255, 255, 255], [255, 255, 255]]])
    first, second = mask_targets(semantic_samples(labels), 4, (4, 5), CPU)
    assert first.labels.tolist() == [0, 3] and first.masks.shape == (2, 4, 5) and first.masks.dtype == torch.bool
    assert torch.equal(first.masks[0, :2, :3], labels[0] == 0) and torch.equal(first.masks[1, :2, :3], labels[0] == 3)
    assert not first.masks[:, 2:].any() and not first.masks[:, :, 3:].any()
    assert second.labels.shape == (0,) and second.masks.shape == (0, 4, 5)


@pytest.mark.parametrize('kind', ['tensor', 'bitmap'])
def test_instances_are_taken_as_they_are(kind: str) -> None:
    masks = np.zeros((2, 2, 3), dtype=np.uint8)
    masks[0, 0], masks[1, 1] = 1, 1
    given = torch.from_numpy(masks).bool() if kind == 'tensor' else BitmapMasks(masks, 2, 3)
    sample = SegDataSample(gt_instances=InstanceData(labels=torch.tensor([2, 2]), masks=given))
    (found,) = mask_targets([sample], 3, (2, 4), CPU)
    assert found.labels.tolist() == [2, 2]
    assert torch.equal(found.masks[..., :3], torch.from_numpy(masks).bool()) and not found.masks[..., 3].any()


def test_no_instance_at_all() -> None:
    sample = SegDataSample(
        gt_instances=InstanceData(labels=torch.zeros(0, dtype=torch.long), masks=torch.zeros(0, 2, 3).bool())
    )
    (found,) = mask_targets([sample], 3, (4, 4), CPU)
    assert found.masks.shape == (0, 4, 4)


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ValueError, match='LoadAnnotations'):
        mask_targets([SegDataSample()], 3, (4, 4), CPU)
    with pytest.raises(ValueError, match='do not fit'):
        mask_targets(semantic_samples(torch.zeros(1, 5, 5, dtype=torch.long)), 3, (4, 4), CPU)
    sample = SegDataSample(gt_instances=InstanceData(labels=torch.tensor([3]), masks=torch.ones(1, 2, 2).bool()))
    with pytest.raises(ValueError, match='train_vocabulary'):
        mask_targets([sample], 3, (4, 4), CPU)
