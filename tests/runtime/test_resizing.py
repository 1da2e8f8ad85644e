"""Resizing on numpy is OpenCV's and PyTorch's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from denseclip.runtime.resizing import bilinear_matrix, resize_pixels, shrink_pixels

SIZES = [
    ((360, 480), (299, 400)),
    ((720, 960), (360, 480)),
    ((97, 131), (360, 486)),
    ((1001, 777), (463, 360)),
    ((5, 5), (7, 3)),
    ((3, 200), (7, 480)),
    ((361, 481), (360, 480)),
    ((1, 1), (4, 9)),
]


def picture(size):
    return np.random.default_rng(sum(size)).integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.mark.parametrize(('size', 'wanted'), SIZES)
def test_pictures_are_resized_as_opencv_does_it(size, wanted):
    pixels = picture(size)
    found, reference = resize_pixels(pixels, wanted), cv2.resize(pixels, wanted[::-1]).reshape(*wanted, 3)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, reference)


def test_any_size_is_resized_as_opencv_does_it():
    rng = np.random.default_rng(0)
    for _ in range(60):
        height, width, tall, wide = map(int, rng.integers(1, 400, 4))
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        reference = cv2.resize(pixels, (wide, tall)).reshape(tall, wide, 3)
        np.testing.assert_array_equal(resize_pixels(pixels, (tall, wide)), reference)


def test_a_picture_of_the_wanted_size_is_left_alone():
    pixels = picture((9, 7))
    assert resize_pixels(pixels, (9, 7)) is pixels


@pytest.mark.parametrize(('size', 'wanted'), [((720, 960), (360, 480)), ((301, 97), (60, 20)), ((11, 4), (3, 4))])
def test_pictures_are_shrunk_as_opencv_does_it(size, wanted):
    pixels = picture(size)
    reference = cv2.resize(pixels, wanted[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(shrink_pixels(pixels, wanted).astype(int) - reference).max() <= 1


@pytest.mark.parametrize(('length', 'out'), [(1, 5), (12, 12), (90, 360), (25, 97), (97, 25), (300, 299)])
def test_scores_are_resized_as_pytorch_does_it(length, out):
    values = torch.randn(1, 1, 1, length, dtype=torch.float64, device='cpu')
    wanted = F.interpolate(values, size=(1, out), mode='bilinear', align_corners=False)[0, 0, 0].numpy()
    matrix = bilinear_matrix(length, out)
    np.testing.assert_allclose(matrix @ values[0, 0, 0].numpy(), wanted, atol=1e-9)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
