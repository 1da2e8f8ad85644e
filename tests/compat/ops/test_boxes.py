"""Overlaps against a plain loop."""

import pytest
import torch
from mmcv.ops import bbox_overlaps


def _loop(first, second, offset, over_first):
    result = torch.zeros(len(first), len(second), dtype=torch.float64)
    for i, (ax1, ay1, ax2, ay2) in enumerate(first.double().tolist()):
        for j, (bx1, by1, bx2, by2) in enumerate(second.double().tolist()):
            width = max(0.0, min(ax2, bx2) - max(ax1, bx1) + offset)
            height = max(0.0, min(ay2, by2) - max(ay1, by1) + offset)
            area = (ax2 - ax1 + offset) * (ay2 - ay1 + offset)
            if not over_first:
                area += (bx2 - bx1 + offset) * (by2 - by1 + offset) - width * height
            result[i, j] = width * height / area
    return result


def _boxes(count, generator):
    corner = torch.rand(count, 2, generator=generator) * 50
    return torch.cat((corner, corner + 1 + torch.rand(count, 2, generator=generator) * 30), dim=1)


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('mode', ['iou', 'iof'])
def test_equals_plain_loop(mode, offset):
    generator = torch.Generator().manual_seed(offset)
    first, second = _boxes(7, generator), _boxes(9, generator)
    expected = _loop(first, second, offset, mode == 'iof')
    assert torch.allclose(bbox_overlaps(first, second, mode, offset=offset).double(), expected, atol=1e-6)
    aligned = bbox_overlaps(first, second[:7], mode, aligned=True, offset=offset)
    assert torch.allclose(aligned.double(), expected[:, :7].diagonal(), atol=1e-6)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_low_precision_rounds_only_the_result(dtype):
    """Areas near 1e6 overflow float16 unless they are computed in float32."""
    boxes = torch.tensor([[0, 0, 1024, 1024], [0, 0, 1024, 512]], dtype=dtype)
    overlaps = bbox_overlaps(boxes, boxes)
    assert overlaps.dtype == dtype
    assert overlaps.tolist() == [[1.0, 0.5], [0.5, 1.0]]


def test_empty():
    assert bbox_overlaps(torch.zeros(0, 4), torch.zeros(3, 4)).shape == (0, 3)
