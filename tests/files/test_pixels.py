"""Pixels of pictures: upright whatever their EXIF data hold, deep ones scaled, transparent ones over white."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from denseclip.files.pixels import rgb_pixels, upright

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 5, 3), np.uint8)


def saved(image, **options):
    file = io.BytesIO()
    image.save(file, 'PNG', **options)
    return Image.open(io.BytesIO(file.getvalue()))


@pytest.mark.parametrize('orientation', range(10))
def test_pictures_are_turned_as_pillow_turns_them(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    opened = saved(Image.fromarray(PIXELS), exif=exif)
    wanted = np.asarray(ImageOps.exif_transpose(opened))
    np.testing.assert_array_equal(np.asarray(upright(opened)), wanted)
    np.testing.assert_array_equal(np.asarray(upright(upright(opened))), wanted)


def test_a_tag_of_an_odd_type_turns_nothing_away():
    orientation = struct.pack('<HHII', 0x0112, 3, 1, 6)
    resolution = struct.pack('<HHI4s', 0x011A, 2, 3, b'72\0\0')  # as text, where a ratio belongs
    block = b'Exif\0\0II*\0' + struct.pack('<I', 8) + struct.pack('<H', 2) + orientation + resolution + bytes(4)
    opened = saved(Image.fromarray(PIXELS), exif=block)
    with pytest.raises(TypeError):
        ImageOps.exif_transpose(opened)
    np.testing.assert_array_equal(rgb_pixels(saved(Image.fromarray(PIXELS), exif=block)), np.rot90(PIXELS, -1))


def test_deep_and_transparent_pictures():
    ramp = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    np.testing.assert_array_equal(rgb_pixels(saved(Image.fromarray(ramp)))[..., 1], ramp // 257)
    clear = np.dstack([PIXELS, np.zeros((3, 5), np.uint8)])
    assert (rgb_pixels(saved(Image.fromarray(clear))) == 255).all()
