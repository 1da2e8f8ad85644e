"""Pictures survive being written."""

import io

import numpy as np
import pytest
from PIL import Image

from denseclip.visualization.png import encode_png


def test_reads_back_whatever_the_picture():
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.arange(40), np.arange(60))[..., None] * np.array([1, 2, 7])
    for pixels in (
        rng.integers(0, 256, (1, 1, 3), np.uint8),
        rng.integers(0, 256, (37, 1, 3), np.uint8),
        rng.integers(0, 256, (1, 53, 3), np.uint8),
        rng.integers(0, 256, (31, 47, 3), np.uint8),
        smooth.astype(np.uint8),
        smooth.astype(np.uint8).transpose(1, 0, 2)[::-1],  # not contiguous
        np.full((20, 30, 3), 255, np.uint8),
    ):
        with Image.open(io.BytesIO(encode_png(pixels))) as found:
            found.load()
            assert found.mode == 'RGB'
            assert np.array_equal(np.asarray(found), pixels)


def test_differences_make_smooth_pictures_small():
    rows, columns = np.mgrid[:100, :100]
    pixels = np.stack([rows, columns, rows + columns], axis=2).astype(np.uint8)
    assert len(encode_png(pixels)) < pixels.size / 5


@pytest.mark.parametrize('pixels', [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_refuses_what_is_no_picture(pixels):
    with pytest.raises(ValueError, match='H x W x 3 of uint8'):
        encode_png(pixels)
