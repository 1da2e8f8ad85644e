"""RoI pooling against a transcription of mmcv's kernel, and torchvision where the two agree."""

import math

import pytest
import torch
import torchvision
from mmcv.ops import roi_pool

from denseclip.compat.ops import roi_pool as module

INSIDE, OVER_THE_EDGE = [0, 2.0, 1.5, 20.0, 17.0], [1, -6.0, 4.0, 9.0, 30.0]
OUTSIDE, INVERTED = [1, 90.0, 90.0, 95.0, 95.0], [0, 9.0, 9.0, 2.0, 2.0]
ROIS = torch.tensor([INSIDE, OVER_THE_EDGE, OUTSIDE, INVERTED])


def _loop(images, rois, bins, scale):
    height, width = images.shape[-2:]
    result = images.new_zeros(len(rois), images.shape[1], bins, bins)
    for number, (index, x1, y1, x2, y2) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = x1 * scale, y1 * scale, (x2 + 1) * scale, (y2 + 1) * scale
        if x2 <= x1 or y2 <= y1:
            continue
        for row in range(bins):
            top = min(max(math.floor(row * (y2 - y1) / bins + y1), 0), height)
            bottom = min(max(math.ceil((row + 1) * (y2 - y1) / bins + y1), 0), height)
            for column in range(bins):
                left = min(max(math.floor(column * (x2 - x1) / bins + x1), 0), width)
                right = min(max(math.ceil((column + 1) * (x2 - x1) / bins + x1), 0), width)
                if bottom > top and right > left:
                    result[number, :, row, column] = images[int(index), :, top:bottom, left:right].amax((1, 2))
    return result


@pytest.mark.parametrize('scale', [1.0, 0.5, 0.3])
@pytest.mark.parametrize('chunk', [1, 1 << 24])
def test_forward_and_backward_equal_loop(monkeypatch, scale, chunk):
    monkeypatch.setattr(module, '_CHUNK_ELEMENTS', chunk)
    images = torch.randn(2, 3, 11, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    images.requires_grad_()
    rois = ROIS.double()
    expected, actual = _loop(images, rois, 3, scale), roi_pool(images, rois, (3, 3), scale)
    assert torch.equal(actual, expected)
    probe = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (by_loop,) = torch.autograd.grad((expected * probe).sum(), images)
    (by_operator,) = torch.autograd.grad((actual * probe).sum(), images)
    assert torch.allclose(by_operator, by_loop, atol=1e-12)


def test_equals_torchvision_on_whole_pixels():
    images = torch.randn(1, 4, 12, 12, generator=torch.Generator().manual_seed(2))
    rois = torch.tensor([[0, 0.0, 0.0, 5.0, 5.0], [0, 3.0, 2.0, 10.0, 9.0]])
    assert torch.equal(roi_pool(images, rois, 2), torchvision.ops.roi_pool(images, rois, 2))


def test_first_of_equal_values_gets_the_gradient():
    images = torch.zeros(1, 1, 4, 4, requires_grad=True)
    roi_pool(images, torch.tensor([[0, 0.0, 0.0, 3.0, 3.0]]), 2).sum().backward()
    assert images.grad[0, 0].nonzero().tolist() == [[0, 0], [0, 2], [2, 0], [2, 2]]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_low_precision(dtype):
    images = torch.randn(2, 3, 11, 9, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    pooled = roi_pool(images, ROIS.to(dtype), (3, 3), 0.5)
    assert torch.equal(pooled, roi_pool(images.float(), ROIS, (3, 3), 0.5).to(dtype))
    pooled.sum().backward()
    assert images.grad.sum() == pooled.ne(0).sum()


def test_no_regions():
    images = torch.randn(1, 3, 8, 8, requires_grad=True)
    pooled = roi_pool(images, torch.zeros(0, 5), 2)
    assert pooled.shape == (0, 3, 2, 2)
    pooled.sum().backward()
    assert images.grad.count_nonzero() == 0
