"""Colours are distinct, stable and those of the data set where it is one."""

import numpy as np
import pytest

from denseclip.visualization.palette import (
    BACKGROUND_COLOR,
    distinct_palette,
    from_oklab,
    known_palette,
    overlay_palette,
    palette_for,
    to_oklab,
)


def test_oklab_of_known_colours():
    """Reference values of the definition: white, and red as published with it."""
    np.testing.assert_allclose(to_oklab(np.array([255, 255, 255])), [1, 0, 0], atol=1e-3)
    np.testing.assert_allclose(to_oklab(np.array([255, 0, 0])), [0.628, 0.2249, 0.1258], atol=1e-3)


@pytest.mark.parametrize(('num_classes', 'least'), [(12, 0.10), (60, 0.06)])
def test_colours_are_far_apart(num_classes, least):
    lab = to_oklab(np.vstack([distinct_palette(num_classes), [BACKGROUND_COLOR]]))
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + np.eye(len(lab))
    assert distances.min() > least


def test_first_colours_do_not_depend_on_the_number():
    few, many = distinct_palette(5), distinct_palette(300)
    np.testing.assert_array_equal(few, many[:5])
    assert len(np.unique(many, axis=0)) == 300


def test_sizes():
    assert distinct_palette(0).shape == (0, 3)
    assert distinct_palette(1).dtype == np.uint8
    with pytest.raises(ValueError, match='at least 0'):
        distinct_palette(-1)


def test_data_sets_keep_their_colours():
    from mmseg.utils import ade_classes, ade_palette

    np.testing.assert_array_equal(palette_for([name.upper() for name in ade_classes()]), ade_palette())
    assert known_palette(['temple', 'sky', 'trees']) is None


def test_background_is_grey_and_last():
    palette = palette_for(['temple', 'sky'], background=True)
    assert tuple(palette[-1]) == BACKGROUND_COLOR
    np.testing.assert_array_equal(palette[:2], distinct_palette(2))


@pytest.mark.parametrize('name', ['voc', 'cityscapes', 'ade', 'cocostuff', 'camvid'])
def test_colours_over_photographs_can_be_seen(name):
    """Light and strong enough, and apart, as far as their number allows."""
    from mmseg.utils import get_classes, get_palette

    from denseclip.datasets.camvid import CamVidDataset

    meta = CamVidDataset.METAINFO
    names, dark = (meta['classes'], meta['palette']) if name == 'camvid' else (get_classes(name), get_palette(name))
    found = overlay_palette(names, np.array(dark))
    free = [k for k, n in enumerate(names) if n != 'background']
    lab = to_oklab(found[free])
    assert lab[:, 0].min() >= 0.44 and np.hypot(lab[:, 1], lab[:, 2]).min() >= 0.05
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + np.eye(len(lab))
    assert distances.min() > (0.07 if len(free) < 40 else 0.02)
    assert all(tuple(found[k]) == BACKGROUND_COLOR for k, n in enumerate(names) if n == 'background')


def test_colours_that_can_be_seen_stay():
    own = distinct_palette(60)
    names = [f'class {k}' for k in range(60)]
    np.testing.assert_array_equal(overlay_palette(names, own), own)
    with_background = palette_for(names[:5], background=True)
    np.testing.assert_array_equal(overlay_palette([*names[:5], 'background'], with_background, 5), with_background)
    some = np.array([[230, 60, 60], [0, 0, 0], [60, 200, 90]])
    found = overlay_palette(['a', 'b', 'c'], some)
    np.testing.assert_array_equal(found[[0, 2]], some[[0, 2]])
    assert found[1].max() > 120


def test_a_dark_colour_keeps_its_hue():
    found = overlay_palette(['car', 'building'], np.array([[0, 0, 142], [128, 0, 0]]))
    assert found[0].argmax() == 2 and found[1].argmax() == 0


def test_oklab_both_ways():
    colours = np.random.default_rng(0).integers(0, 256, (200, 3))
    np.testing.assert_array_equal(from_oklab(to_oklab(colours)), colours)
