"""Label maps on numpy are those of PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from denseclip.models.functional.label_map import label_dtype, slide_label_map
from denseclip.models.segmentors.label_inference import slide_boxes
from denseclip.runtime.label_maps import label_map, label_type, window_boxes

CASES = [
    # classes, input, valid part, result, window, stride, scale of the head
    (11, (360, 480), None, (360, 480), None, None, 4),
    (1, (97, 131), None, (97, 131), None, None, 4),
    (500, (64, 96), None, (120, 181), None, None, 8),
    (3, (64, 96), (0, 61, 0, 70), (122, 140), None, None, 4),
    (5, (100, 150), None, (201, 303), (64, 64), (40, 40), 4),
    (150, (80, 60), (0, 80, 0, 55), (33, 21), (48, 48), (32, 32), 16),
]


@pytest.mark.parametrize('case', CASES)
def test_labels_are_those_of_pytorch(case):
    count, size, valid, out, crop, stride, scale = case
    valid = valid or (0, size[0], 0, size[1])
    boxes = window_boxes(size, crop, stride)
    rng = np.random.default_rng(count)
    scores = [
        rng.standard_normal((count, -(-(b - t) // scale), -(-(z - a) // scale)), dtype=np.float32)
        for t, b, a, z in boxes
    ]
    wanted = slide_label_map([torch.from_numpy(s) for s in scores], boxes, size, out, valid=valid).numpy()
    found = label_map(scores, boxes, size, valid, out)
    assert found.shape == out
    assert found.dtype == wanted.dtype
    assert (found != wanted).mean() < 1e-3  # float32 rounds otherwise where two classes are alike


@pytest.mark.parametrize(
    ('size', 'crop', 'stride'), [((100, 150), (64, 64), (40, 40)), ((30, 200), (64, 64), (32, 48))]
)
def test_windows_lie_where_mmseg_puts_them(size, crop, stride):
    assert window_boxes(size, crop, stride) == slide_boxes(size, crop, stride)


@pytest.mark.parametrize('count', [1, 255, 256, 32767, 32768])
def test_labels_have_the_type_of_the_suite(count):
    assert np.dtype(label_type(count)) == torch.zeros(0, dtype=label_dtype(count), device='cpu').numpy().dtype


def test_the_first_of_equal_classes_wins():
    same = np.ones((4, 3, 5), dtype=np.float32)
    assert not label_map([same], [(0, 12, 0, 20)], (12, 20), (0, 12, 0, 20), (12, 20)).any()
