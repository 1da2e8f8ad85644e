"""Outlines run along the edges of pixels: filled again they are the mask."""

import sys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from denseclip.structures.outlines import has_holes, keyhole, outlines


def blob(seed):
    """A smooth mask without holes."""
    rng = np.random.default_rng(seed)
    coarse = rng.random(tuple(rng.integers(2, 8, 2))).astype(np.float32)
    size = tuple(int(side) for side in rng.integers(3, 60, 2))
    mask = (cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC) > rng.uniform(0.3, 0.7)).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(mask.copy(), contours, -1, 1, cv2.FILLED).astype(bool)


def filled(polygons, shape):
    coded = coco_mask.frPyObjects([polygon.ravel().tolist() for polygon in polygons], *shape)
    return coco_mask.decode(coco_mask.merge(coded)).astype(bool)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_filled_outlines_are_the_mask(seed):
    mask = blob(seed)
    assert not has_holes(mask)
    polygons = outlines(mask)
    assert len(polygons) == cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1
    if polygons:
        np.testing.assert_array_equal(filled(polygons, mask.shape), mask)
    areas = [abs(cv2.contourArea(polygon.astype(np.float32))) for polygon in polygons]
    assert areas == sorted(areas, reverse=True) and sum(areas) == mask.sum()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_straighter_outlines_keep_the_size_and_have_fewer_points(seed):
    mask = blob(seed)
    exact, simple = outlines(mask), outlines(mask, tolerance=1.0)
    assert sum(map(len, simple)) <= sum(map(len, exact)) and all(len(polygon) >= 3 for polygon in simple)
    for one, other in zip(exact, simple, strict=True):
        size = abs(cv2.contourArea(one.astype(np.float32)))
        assert abs(abs(cv2.contourArea(other.astype(np.float32))) - size) <= 0.03 * size + 1e-3


def test_a_disc_needs_few_points():
    rows, columns = np.mgrid[:200, :200]
    disc = (rows - 100) ** 2 + (columns - 100) ** 2 < 80**2
    [polygon] = outlines(disc, tolerance=1.0)
    again = filled([polygon], disc.shape)
    assert len(polygon) < 60 < len(outlines(disc)[0])
    assert (again & disc).sum() / (again | disc).sum() > 0.98


@pytest.mark.parametrize(('place', 'inside'), [((2, 2), True), ((0, 2), False)])
def test_holes_are_enclosed(place, inside):
    mask = np.ones((5, 5), bool)
    mask[place] = False
    assert has_holes(mask) is inside and not has_holes(np.zeros((5, 5), bool))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_one_polygon_covers_specks_and_holes(seed):
    rng = np.random.default_rng(seed)
    mask = np.pad(rng.random((20, 30)) < rng.choice([0.1, 0.5, 0.9]), ((3, 9), (40, 1)))
    mask[5, 45] = True
    np.testing.assert_array_equal(filled([keyhole(mask)], mask.shape), mask)


def test_bridges_between_specks_are_short():
    mask = np.zeros((120, 120), bool)
    mask[::10, ::10] = True
    polygon = keyhole(mask)
    steps = np.abs(np.diff(polygon, axis=0)).sum(axis=1)
    assert len(polygon) == 4 + 6 * 143 and steps.max() <= 20 and np.median(steps) == 1
    np.testing.assert_array_equal(filled([polygon], mask.shape), mask)


def test_a_missing_package_is_named_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, 'cv2', None)
    with pytest.raises(ImportError, match='need OpenCV.*: pip install [a-z-]+$'):
        outlines(blob(3))
