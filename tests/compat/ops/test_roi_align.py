"""RoIAlign against plain loops (Mask R-CNN, section 3) and mmdet's use of it for mask targets."""

import math

import numpy as np
import pytest
import torch
from mmcv.ops import RoIAlign, roi_align

ROIS = torch.tensor([[0, 2.0, 1.5, 20.0, 17.0], [1, -6.0, 4.0, 9.0, 30.0], [1, 11.0, 12.0, 11.5, 12.5]])


def _bilinear(plane, y, x):
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return plane.new_zeros(())
    y, x = max(y, 0.0), max(x, 0.0)
    y0, x0 = min(int(y), height - 1), min(int(x), width - 1)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    dy = 0.0 if y0 == height - 1 else y - y0
    dx = 0.0 if x0 == width - 1 else x - x0
    top = plane[y0, x0] * (1 - dx) + plane[y0, x1] * dx
    return top * (1 - dy) + (plane[y1, x0] * (1 - dx) + plane[y1, x1] * dx) * dy


def _loop(images, rois, size, scale, ratio, aligned):
    shift = 0.5 if aligned else 0.0
    result = []
    for index, *corners in rois.double().tolist():
        x1, y1, x2, y2 = (value * scale - shift for value in corners)
        width, height = x2 - x1, y2 - y1
        if not aligned:
            width, height = max(width, 1.0), max(height, 1.0)
        samples_y = ratio or math.ceil(height / size)
        samples_x = ratio or math.ceil(width / size)
        for plane in images[int(index)]:
            for row in range(size):
                for column in range(size):
                    values = [
                        _bilinear(
                            plane,
                            y1 + (row + (i + 0.5) / samples_y) * height / size,
                            x1 + (column + (j + 0.5) / samples_x) * width / size,
                        )
                        for i in range(samples_y)
                        for j in range(samples_x)
                    ]
                    result.append(torch.stack(values).sum() / max(1, len(values)))
    return torch.stack(result).view(len(rois), images.shape[1], size, size)


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 2])
def test_forward_and_backward_equal_loop(aligned, ratio):
    images = torch.randn(2, 2, 8, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    images.requires_grad_()
    rois = ROIS.double()
    expected = _loop(images, rois, 3, 0.4, ratio, aligned)
    actual = roi_align(images, rois, (3, 3), 0.4, ratio, 'avg', aligned)
    assert torch.allclose(actual, expected, atol=1e-10)
    probe = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (by_loop,) = torch.autograd.grad((expected * probe).sum(), images)
    (by_operator,) = torch.autograd.grad((actual * probe).sum(), images)
    assert torch.allclose(by_operator, by_loop, atol=1e-10)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_low_precision_forward_and_backward(dtype):
    images = torch.randn(2, 3, 8, 10, generator=torch.Generator().manual_seed(0)).to(dtype)
    rois = ROIS.round().to(dtype)
    exact = images.float().requires_grad_()
    low = images.clone().requires_grad_()
    expected = roi_align(exact, rois.float(), (2, 2), 0.5, 2)
    actual = roi_align(low, rois, (2, 2), 0.5, 2)
    assert actual.dtype == dtype
    assert torch.equal(actual, expected.to(dtype))
    expected.sum().backward()
    actual.sum().backward()
    assert torch.allclose(low.grad.float(), exact.grad, atol=2e-2, rtol=1e-2)


def test_autocast_bfloat16_trains():
    layer = torch.nn.Conv2d(3, 4, 1)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        pooled = roi_align(layer(torch.ones(1, 3, 8, 8)), torch.tensor([[0, 0.0, 0.0, 8.0, 8.0]]), (2, 2))
    pooled.float().sum().backward()
    assert layer.weight.grad.abs().sum() > 0


def test_no_regions():
    images = torch.randn(1, 3, 8, 8, requires_grad=True)
    pooled = roi_align(images, torch.zeros(0, 5), (7, 7))
    assert pooled.shape == (0, 3, 7, 7)
    pooled.sum().backward()
    assert images.grad.count_nonzero() == 0


def test_mask_targets():
    """mmdet crops ground-truth masks with RoIAlign: a box half inside the object gives a half-filled target."""
    from mmdet.structures.mask import BitmapMasks

    masks = np.zeros((1, 20, 20), dtype=np.uint8)
    masks[0, :, 10:] = 1
    target = BitmapMasks(masks, 20, 20).crop_and_resize(
        torch.tensor([[6.0, 2.0, 14.0, 10.0]]), (4, 4), torch.tensor([0]), device='cpu'
    )
    assert target.masks[0].tolist() == [[0, 0, 1, 1]] * 4


def test_max_pooling_is_refused_by_name():
    with pytest.raises(NotImplementedError, match=r"pool_mode='max'.*pool_mode='avg'"):
        RoIAlign((2, 2), pool_mode='max')(torch.zeros(1, 1, 4, 4), torch.zeros(1, 5))
