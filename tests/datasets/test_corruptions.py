"""Corruptions: sizes, severities, chance from the caller alone, and what formulas say."""

import numpy as np
import pytest
from PIL import Image

from denseclip.datasets.corruptions import CORRUPTIONS, FAMILIES, SEVERITIES, corrupt
from denseclip.datasets.corruptions.weather import plasma
from denseclip.datasets.miniworld.scenes import SceneSpec, draw_scene

EVERY = pytest.mark.parametrize('name', CORRUPTIONS)


@pytest.fixture(scope='module')
def picture():
    """A drawn picture that is not square, and whose sides are no powers of two."""
    return draw_scene(np.random.default_rng(1), SceneSpec(size=(60, 84))).image


def changed(picture, name, severity, seed=0):
    """Mean squared difference of what becomes of a picture."""
    found = corrupt(picture, name, severity, np.random.default_rng(seed)).astype(float)
    return float(((found - picture) ** 2).mean())


@EVERY
def test_gives_a_new_picture_of_the_same_size_by_the_given_chance_alone(picture, name):
    before = picture.copy()
    for severity in SEVERITIES:
        one, other = (corrupt(picture, name, severity, np.random.default_rng(7)) for _ in range(2))
        assert one.shape == picture.shape
        assert one.dtype == np.uint8
        assert np.array_equal(one, other)
    assert np.array_equal(picture, before)


@EVERY
def test_severity_0_is_the_picture_itself(picture, name):
    found = corrupt(picture, name, 0, np.random.default_rng(0))
    assert np.array_equal(found, picture)
    assert found is not picture


@EVERY
def test_is_stronger_at_5_than_at_1(picture, name):
    weak, strong = (np.mean([changed(picture, name, s, seed) for seed in range(3)]) for s in (1, 5))
    assert 0 < weak < strong


def test_there_are_the_fifteen_of_the_benchmark():
    assert [len(some) for some in FAMILIES.values()] == [3, 4, 3, 5]
    assert len(CORRUPTIONS) == 15


def test_noise_has_the_strength_that_its_setting_says():
    grey = np.full((200, 200, 3), 128, np.uint8)
    found = corrupt(grey, 'gaussian_noise', 1, np.random.default_rng(0)) / 255
    assert found.std() == pytest.approx(0.08, rel=0.02)
    found = corrupt(grey, 'shot_noise', 2, np.random.default_rng(0)) / 255
    assert found.std() == pytest.approx((128 / 255 / 25) ** 0.5, rel=0.03)
    found = corrupt(grey, 'impulse_noise', 5, np.random.default_rng(0))
    assert np.isin(found, (0, 255)).mean() == pytest.approx(0.27, abs=0.01)
    assert set(np.unique(found)) == {0, 128, 255}


def test_contrast_keeps_means_and_shrinks_what_differs(picture):
    found = corrupt(picture, 'contrast', 3, np.random.default_rng(0)).astype(float)
    assert found.mean((0, 1)) == pytest.approx(picture.mean((0, 1)), abs=1)
    assert found.std((0, 1)) == pytest.approx(0.2 * picture.std((0, 1)), abs=1)


def test_brightness_adds_to_the_value_and_keeps_the_hue():
    found = corrupt(np.full((40, 40, 3), (100, 50, 50), np.uint8), 'brightness', 2, np.random.default_rng(0))[0, 0]
    assert found == pytest.approx([151, 75.5, 75.5], abs=1)


@pytest.mark.parametrize('name', FAMILIES['blur'])
def test_blurs_leave_a_plain_picture_alone(name):
    plain = np.full((48, 50, 3), (200, 90, 30), np.uint8)
    assert np.abs(corrupt(plain, name, 4, np.random.default_rng(0)).astype(int) - plain).max() <= 1


def test_pixelate_and_jpeg_are_pillows(picture):
    image = Image.fromarray(picture)
    small = image.resize((84 // 2, 60 // 2), Image.Resampling.BOX).resize(image.size, Image.Resampling.NEAREST)
    assert np.array_equal(corrupt(picture, 'pixelate', 2, np.random.default_rng(0)), np.asarray(small))


def test_plasma_covers_any_size_from_0_to_1():
    found = plasma((33, 65), 2.0, np.random.default_rng(0))
    assert found.shape == (33, 65)
    assert 0 <= found.min() < found.max() <= 1


@pytest.mark.parametrize(
    ('name', 'severity', 'side', 'said'),
    [
        ('rain', 1, 64, "no corruption is called 'rain'"),
        ('snow', 6, 64, 'severity 6'),
        ('snow', 1, 16, 'a picture of 16 x 16 is too small'),
    ],
)
def test_says_what_is_wrong(name, severity, side, said):
    with pytest.raises(ValueError, match=said):
        corrupt(np.zeros((side, side, 3), np.uint8), name, severity, np.random.default_rng(0))
