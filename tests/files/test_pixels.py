"""Pixels of pictures: upright whatever their EXIF data hold, deep ones scaled, transparent ones over white."""

import io
import struct
import subprocess

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, ImageOps, UnidentifiedImageError

from denseclip.apis.images import UnreadableImageError, read_image
from denseclip.datasets.files import UnreadableFileError, open_picture
from denseclip.files.pixels import NoRangeError, open_safely, rgb_pixels, safe_formats, upright

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


@pytest.mark.parametrize('kind', [np.uint16, np.int32, np.float32])
def test_brightness_does_not_depend_on_what_else_is_in_a_picture(kind):
    """The same level looks the same beside every other one: nothing is stretched by a picture's own greatest level."""
    unit = 1 if kind is np.float32 else 65535
    level, others = kind(0.25 * unit), [kind(share * unit) for share in (0.25, 0.26, 0.9, 1)]
    seen = {int(rgb_pixels(Image.fromarray(np.array([[level, other]], kind)))[0, 0, 0]) for other in others}
    assert seen == {64}


def test_floats_a_little_beyond_are_cut_off_and_ranges_that_nobody_knows_are_refused():
    over = Image.fromarray(np.array([[-0.2, 0.5, 1.01]], np.float32))
    np.testing.assert_array_equal(rgb_pixels(over)[0, :, 0], [0, 128, 255])
    for wide in (np.array([[0, 200]], np.float32), np.array([[-1, 5]], np.int32), np.array([[0, 70_000]], np.int32)):
        with pytest.raises(NoRangeError, match=r'of (0|-1)\.\..* Sav|of 0\.\.200 do not lie in 0\.\.1'):
            rgb_pixels(Image.fromarray(wide))


def test_twelve_bits_are_told_by_tiff_and_suspected_elsewhere():
    levels = np.array([[0, 2048, 4095]], np.uint16)
    deep = Image.fromarray(levels)
    with pytest.warns(UserWarning, match='by 16'):
        rgb_pixels(deep)
    deep.tag_v2 = {258: (12,)}  # as Pillow has it of a TIFF of 12 bits
    np.testing.assert_array_equal(rgb_pixels(deep)[0, :, 0], [0, 128, 255])


def test_formats_of_other_programs_are_not_asked():
    assert {'JPEG', 'PNG', 'TIFF', 'WEBP', 'BMP', 'GIF'} <= set(safe_formats())
    assert not {'EPS', 'WMF', 'MPEG', 'HDF5', 'GRIB', 'BUFR'} & set(safe_formats())


def test_no_program_starts_for_a_text_that_is_called_a_picture(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(subprocess, 'Popen', lambda *args, **options: started.append(args))
    monkeypatch.setattr(EpsImagePlugin, 'gs_binary', 'gs')  # as where it is installed
    path = tmp_path / 'a.jpg'
    path.write_text('%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n%%EOF\n')
    with pytest.raises(UnidentifiedImageError), open_safely(path) as picture:
        picture.load()
    with pytest.raises(UnreadableImageError, match='not a picture in a known format'):
        read_image(path)
    with pytest.raises(UnreadableFileError, match='cannot be read'):
        open_picture(path)
    assert not started
    with pytest.raises(Exception), Image.open(path) as picture:  # noqa: B017  (this file would have started it)
        picture.load()
    assert started
