"""Colours are distinct, stable and those of the data set where it is one."""

import numpy as np
import pytest

from denseclip.visualization.palette import BACKGROUND_COLOR, distinct_palette, known_palette, palette_for, to_oklab


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
