"""Operations of pictures are OpenCV's, without OpenCV."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest

from denseclip.visualization.raster import depth, largest_area, nearest, soften, thicken


def blobs(seed, size=(120, 161)):
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random(size), (0, 0), 4 + seed)
    return noise > np.median(noise)


@pytest.mark.parametrize('size', [(31, 77), (200, 300), (97, 131), (50, 66), (1, 1)])
def test_label_maps_at_another_size(size):
    labels = np.random.default_rng(0).integers(0, 9, (97, 131)).astype(np.int32)
    wanted = cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST).reshape(size)
    np.testing.assert_array_equal(nearest(labels, size), wanted)


@pytest.mark.parametrize('thickness', range(1, 9))
def test_a_round_brush(thickness):
    mask = np.random.default_rng(thickness).random((60, 81)) < 0.02
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (thickness, thickness))
    np.testing.assert_array_equal(thicken(mask, thickness), cv2.dilate(mask.astype(np.uint8), brush) > 0)


def test_soft_edges():
    line = (np.random.default_rng(0).random((60, 81)) < 0.1).astype(np.uint8) * np.uint8(255)
    np.testing.assert_array_equal(soften(line), cv2.GaussianBlur(line, (3, 3), 0))


@pytest.fixture(params=['numpy', 'opencv'])
def way(request, monkeypatch):
    """Both ways of the slow operations."""
    if request.param == 'numpy':
        monkeypatch.delitem(sys.modules, 'cv2')
    return request.param


@pytest.mark.parametrize('seed', range(5))
def test_the_largest_area_and_its_depth(seed, way):
    mask = blobs(seed)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    wanted = parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    found = largest_area(mask)
    np.testing.assert_array_equal(found, wanted)
    framed = cv2.copyMakeBorder(wanted.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    reference = cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1]
    np.testing.assert_allclose(depth(found), reference, atol=1e-3)


def test_the_first_of_areas_of_one_size(way):
    mask = np.random.default_rng(0).random((40, 41)) < 0.25  # many areas of few pixels: ties
    for part in (mask[k : k + 9, j : j + 9] for k in range(0, 31, 5) for j in range(0, 31, 5)):
        _, parts, stats, _ = cv2.connectedComponentsWithStats(part.astype(np.uint8), connectivity=4)
        np.testing.assert_array_equal(largest_area(part), parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()))


def test_nothing_and_everything(way):
    nothing, everything = np.zeros((4, 5), dtype=bool), np.ones((4, 5), dtype=bool)
    assert not largest_area(nothing).any()
    assert not depth(nothing).any()
    assert largest_area(everything).all()
    assert depth(everything).max() == pytest.approx(2 * 0.955, abs=1e-3)


def test_areas_that_touch_at_a_corner_are_two(way):
    mask = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]], dtype=bool)
    assert largest_area(mask).tolist() == (mask & np.array([[False], [True], [True]])).tolist()


def test_arms_that_meet_below_are_one(way):
    mask = np.array([[1, 0, 1, 0, 0], [1, 0, 1, 0, 1], [1, 1, 1, 0, 1]], dtype=bool)
    assert largest_area(mask).sum() == 7
