"""Every kind of picture is read, or refused with a message that names the file and the cure."""

import warnings

import numpy as np
import pytest
from PIL import Image

from denseclip.apis.images import UnreadableImageError, read_image, to_bgr

RGB = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]]], dtype=np.uint8)


def save(tmp_path, picture, name='picture.png', **options):
    path = tmp_path / name
    picture.save(path, **options)
    return path


def test_colour_is_bgr(tmp_path):
    pixels = read_image(save(tmp_path, Image.fromarray(RGB)))
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, RGB[..., ::-1])


@pytest.mark.parametrize('mode', ['L', '1', 'P', 'CMYK', 'YCbCr', 'LA'])
def test_every_mode_gives_three_channels(tmp_path, mode):
    grey = Image.fromarray(np.array([[0, 255], [255, 0]], dtype=np.uint8))
    suffix = '.tif' if mode in ('CMYK', 'YCbCr') else '.png'
    pixels = read_image(save(tmp_path, grey.convert(mode), f'picture{suffix}'))
    np.testing.assert_allclose(pixels[..., 0], [[0, 255], [255, 0]], atol=1)
    np.testing.assert_allclose(pixels, pixels[..., :1].repeat(3, 2), atol=1)


def test_sixteen_bits_are_scaled(tmp_path):
    deep = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    for suffix in ('png', 'tif'):
        pixels = read_image(save(tmp_path, Image.fromarray(deep), f'deep.{suffix}'))
        np.testing.assert_array_equal(pixels[0, :, 0], [0, 1, 128, 255])


def test_float_and_wide_integers_use_their_range(tmp_path):
    unit = Image.fromarray(np.array([[0, 0.5, 1]], dtype=np.float32))
    np.testing.assert_array_equal(read_image(save(tmp_path, unit, 'unit.tif'))[0, :, 0], [0, 128, 255])
    wide = Image.fromarray(np.array([[-100_000, 0, 100_000]], dtype=np.int32))
    np.testing.assert_array_equal(read_image(save(tmp_path, wide, 'wide.tif'))[0, :, 0], [0, 128, 255])


def test_transparency_is_laid_over_white(tmp_path):
    rgba = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 128]]], dtype=np.uint8)
    pixels = read_image(save(tmp_path, Image.fromarray(rgba)))
    np.testing.assert_array_equal(pixels[0], [[0, 0, 255], [255, 255, 255], [127, 127, 127]])
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8)).convert('P')
    palette.putpalette([9, 9, 9, 50, 60, 70])
    pixels = read_image(save(tmp_path, palette, 'palette.png', transparency=0))
    np.testing.assert_array_equal(pixels[0], [[255, 255, 255], [70, 60, 50]])


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    path = save(tmp_path, Image.fromarray(np.repeat(RGB[:, :1], 3, axis=1)), exif=exif)
    pixels = read_image(path)
    assert pixels.shape == (3, 2, 3)
    np.testing.assert_array_equal(pixels[0, ::-1, ::-1], RGB[:, 0])


def test_one_pixel_and_very_wide(tmp_path):
    assert read_image(save(tmp_path, Image.new('RGB', (1, 1)))).shape == (1, 1, 3)
    assert read_image(save(tmp_path, Image.new('RGB', (12_000, 40)))).shape == (40, 12_000, 3)


@pytest.mark.parametrize(
    ('content', 'message'),
    [(None, 'there is no such file'), (b'', 'empty'), (b'no picture at all', 'not a picture in a known format')],
)
def test_what_is_no_picture_is_named(tmp_path, content, message):
    path = tmp_path / 'holiday.jpg'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=message) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('suffix', ['png', 'jpg', 'tif', 'webp', 'bmp', 'gif'])
def test_truncated_file(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path, Image.fromarray(noise), f'cut.{suffix}')
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UnreadableImageError, match='cut'):
        read_image(path)


def test_folder(tmp_path):
    with pytest.raises(UnreadableImageError, match='is a folder'):
        read_image(tmp_path)


def test_no_permission(tmp_path, monkeypatch):
    path = save(tmp_path, Image.new('RGB', (2, 2)))

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(Image, 'open', refuse)
    with pytest.raises(UnreadableImageError, match='no permission'):
        read_image(path)


def test_decompression_bomb_is_refused_and_half_of_it_is_quiet(tmp_path, monkeypatch):
    path = save(tmp_path, Image.new('L', (40, 40)))
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert read_image(path).shape == (40, 40, 3)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    with pytest.raises(UnreadableImageError, match='decompression bomb'):
        read_image(path)


def test_the_guard_of_pillow_is_on():
    assert Image.MAX_IMAGE_PIXELS is not None


def test_arrays():
    bgr = RGB[..., ::-1]
    np.testing.assert_array_equal(to_bgr(bgr), bgr)
    assert to_bgr(np.zeros((4, 5))).shape == (4, 5, 3)
    assert to_bgr(np.zeros((4, 5, 1), dtype=bool)).shape == (4, 5, 3)
    np.testing.assert_array_equal(to_bgr(np.full((1, 1, 3), 65535, np.uint16)), [[[255] * 3]])
    np.testing.assert_array_equal(to_bgr(np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8))[0, 1], [255] * 3)
    np.testing.assert_array_equal(to_bgr(Image.fromarray(RGB)), bgr)


@pytest.mark.parametrize(
    ('array', 'message'),
    [
        (np.zeros((2, 2, 5), np.uint8), 'H x W x 3'),
        (np.zeros((0, 2, 3), np.uint8), 'at least one pixel'),
        (np.zeros((1, 2, 2, 3), np.uint8), 'H x W x 3'),
        (np.zeros((2, 2, 3), np.int64), 'uint8'),
        (np.full((2, 2, 3), 200.0), 'divide by 255'),
        (np.full((2, 2, 3), np.nan), 'divide by 255'),
    ],
)
def test_arrays_that_are_no_pictures(array, message):
    with pytest.raises(ValueError, match=message):
        to_bgr(array)
