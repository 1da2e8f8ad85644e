"""Objects cut out and pasted: their pixels stay, and they stand where they should."""

import numpy as np
import pytest

from denseclip.datasets.pasted_objects import best_place, cut_out, paste

GRASS, SAND, BALL, STAR = range(4)


@pytest.fixture
def scene():
    """A round ball on grass above sand, and a smaller ball; pixels of chance."""
    rows, columns = np.mgrid[:80, :100]
    labels = np.where(rows < 60, GRASS, SAND).astype(np.int64)
    labels[(rows - 30) ** 2 + (columns - 40) ** 2 <= 12**2] = BALL
    labels[5:9, 90:94] = BALL
    return np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8), labels


@pytest.fixture
def other():
    """A picture of sand with grass at its right, and a star."""
    labels = np.full((70, 90), SAND, np.int64)
    labels[:, 50:] = GRASS
    labels[30:40, 20:30] = STAR
    return np.random.default_rng(1).integers(0, 256, (70, 90, 3), dtype=np.uint8), labels


def test_cuts_the_largest_object_and_knows_its_ground(scene):
    rgb, labels = scene
    thing = cut_out(rgb, labels, BALL, [GRASS, SAND])
    assert thing.ground == GRASS
    assert thing.mask.shape == (25, 25)
    assert thing.mask.sum() == (labels == BALL).sum() - 16
    assert np.array_equal(thing.pixels, rgb[18:43, 28:53])


@pytest.mark.parametrize('label', [STAR, GRASS])
def test_what_is_not_there_or_too_large_is_no_object(scene, label):
    assert cut_out(*scene, label, [GRASS, SAND]) is None


def test_without_a_ground_around_there_is_no_object(scene):
    assert cut_out(*scene, BALL, [STAR]) is None


@pytest.mark.parametrize('ground', [GRASS, SAND])
def test_a_place_holds_the_ground_alone(scene, other, ground):
    thing = cut_out(*scene, BALL, [GRASS, SAND])
    (top, left), share = best_place(other[1], thing.mask.shape, ground, STAR)
    window = other[1][top : top + 25, left : left + 25]
    assert window.shape == (25, 25)
    assert (window == ground).mean() == pytest.approx(share, abs=1e-6) == 1


def test_the_place_is_the_best_of_all(other):
    labels = np.random.default_rng(2).integers(0, 3, (20, 24))
    (top, left), share = best_place(labels, (6, 5), 1, 9)
    every = [(labels[y : y + 6, x : x + 5] == 1).mean() for y in range(15) for x in range(20)]
    assert share == pytest.approx(max(every), abs=1e-6)
    assert (labels[top : top + 6, left : left + 5] == 1).mean() == pytest.approx(share, abs=1e-6)


def test_what_is_larger_than_the_picture_fits_nowhere(other):
    assert best_place(other[1], (71, 5), SAND, BALL)[1] == 0


def test_pasting_changes_the_objects_pixels_alone(scene, other):
    thing = cut_out(*scene, BALL, [GRASS, SAND])
    rgb, labels = other[0].copy(), other[1].copy()
    found = paste(rgb, labels, thing, (3, 60))
    assert found.mask.sum() == thing.mask.sum()
    assert np.array_equal(found.rgb[found.mask], thing.pixels[thing.mask])
    assert np.array_equal(found.labels == BALL, found.mask)
    assert np.array_equal(found.rgb[~found.mask], other[0][~found.mask])
    assert np.array_equal(found.labels[~found.mask], other[1][~found.mask])
    assert np.array_equal(rgb, other[0])
    assert found.mask[found.window].sum() == found.mask.sum()
    assert found.window == (slice(0, 40), slice(48, 97))
