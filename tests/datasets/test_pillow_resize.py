"""Resizing by Pillow: sizes, smoothing, label maps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denseclip.datasets.transforms.pillow_resize import PillowResizeShortSide, resize_label_map


@given(st.integers(20, 3000), st.integers(20, 3000))
def test_sizes_keep_the_limits_and_the_shape(height, width):
    new = PillowResizeShortSide(800, 1333).target_size((height, width))
    assert max(new) <= 1333 and min(new) <= 800
    assert max(new) == 1333 or min(new) == 800
    assert abs(new[0] / new[1] * width / height - 1) < 1.5 / min(new)


def test_picture_and_label_maps_move_together():
    labels = np.zeros((40, 60), dtype=np.int32)
    labels[:20] = 70000
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    results = PillowResizeShortSide(20, None)(dict(img=image, gt_seg_map=labels, seg_fields=['gt_seg_map']))
    assert results['img'].shape == (20, 30, 3) and results['img_shape'] == (20, 30)
    assert results['scale_factor'] == (0.5, 0.5)
    assert results['gt_seg_map'].dtype == np.int32 and np.array_equal(
        results['gt_seg_map'][:, 0], [70000] * 10 + [0] * 10
    )
    assert results['img'].std() < 0.7 * image.std()  # noise is averaged


def test_one_of_several_lengths_is_chosen():
    transform = PillowResizeShortSide((10, 20), None)
    sizes = {transform(dict(img=np.zeros((40, 40, 3), dtype=np.uint8)))['img_shape'][0] for _ in range(30)}
    assert sizes == {10, 20}
    with pytest.raises(ValueError, match='positive'):
        PillowResizeShortSide(0)


def test_labels_keep_their_values():
    labels = np.random.default_rng(0).integers(0, 2**20, (13, 7)).astype(np.int64)
    small = resize_label_map(labels, (5, 4))
    assert small.dtype == np.int64 and np.isin(small, labels).all()


def test_labels_of_the_upper_left_corner():
    labels = np.arange(12, dtype=np.uint16).reshape(3, 4)
    rows, columns = np.arange(2) * 3 // 2, np.arange(3) * 4 // 3
    assert np.array_equal(resize_label_map(labels, (2, 3), 'floor'), labels[rows][:, columns])
    with pytest.raises(ValueError, match='corner'):
        PillowResizeShortSide(labels='corner')
