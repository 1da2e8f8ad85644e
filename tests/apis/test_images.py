"""Every kind of picture is read, or refused with a message that names the file and the cure."""

import io
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from denseclip.apis.errors import UserError
from denseclip.apis.images import Picture, UnreadableImageError, pictures_of, read_image

RGB = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]]], dtype=np.uint8)


def to_bgr(image, channel_order='bgr'):
    return Picture.of(image, channel_order).bgr


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
    # packed: Pillow 12.3, the last for Python 3.10, cannot read the plain YCbCr that it writes
    options = {'compression': 'tiff_lzw'} if mode == 'YCbCr' else {}
    pixels = read_image(save(tmp_path, grey.convert(mode), f'picture{suffix}', **options))
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
    with pytest.raises(UnreadableImageError, match=r'wide.tif.*-100,000..100,000 are no levels of 16 bits'):
        read_image(save(tmp_path, wide, 'wide.tif'))
    with pytest.raises(UserError, match='a Pillow image: its whole numbers'):
        Picture.of(wide)


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


def test_every_kind_of_picture_is_the_same_one(tmp_path):
    """Files, bytes, open files, Pillow images, arrays and tensors, channels first and last, 8-bit and float."""
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    path = save(tmp_path, Image.fromarray(rgb))
    tensor = torch.from_numpy(rgb).permute(2, 0, 1)
    unit = tensor.float() / 255
    alpha = np.dstack([rgb, np.full((5, 7), 255, np.uint8)])
    with path.open('rb') as file:
        kinds = [
            path,
            str(path),
            path.read_bytes(),
            memoryview(path.read_bytes()),
            io.BytesIO(path.read_bytes()),
            file,
            Image.fromarray(rgb),
            rgb,
            rgb.transpose(2, 0, 1),
            np.asfortranarray(rgb),
            rgb / 255,
            (rgb / 255).astype(np.float32),
            alpha,
            tensor,
            tensor.permute(1, 2, 0),
            tensor.contiguous().requires_grad_(False),
            unit,
            unit.clone().requires_grad_(),
            unit.double(),
            torch.cat([unit, torch.ones(1, 5, 7)]),
        ]
        pictures = [Picture.of(kind, None if isinstance(kind, torch.Tensor) else 'rgb') for kind in kinds]
    for picture in pictures:
        np.testing.assert_array_equal(picture.rgb, rgb)
        assert picture.rgb.flags.c_contiguous and picture.bgr.flags.c_contiguous
    assert [p.source for p in pictures[:3]] == [path, path, None]
    np.testing.assert_array_equal(Picture.of(rgb[..., ::-1], 'bgr').rgb, rgb)
    np.testing.assert_array_equal(Picture.of(alpha[..., [2, 1, 0, 3]], 'bgr').rgb, rgb)
    np.testing.assert_array_equal(Picture.of(tensor.flip(0), 'bgr').rgb, rgb)
    np.testing.assert_array_equal(Picture.of(path, 'bgr').rgb, rgb)  # a file says itself which colours it has
    np.testing.assert_array_equal(read_image(path, 'rgb'), rgb)


def test_where_both_ends_could_be_channels():
    """Tensors have their channels first, arrays last."""
    cube = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    np.testing.assert_array_equal(Picture.of(cube, 'rgb').rgb, cube)
    np.testing.assert_array_equal(Picture.of(torch.from_numpy(cube)).rgb, cube.transpose(1, 2, 0))
    assert Picture.of(torch.zeros(1, 4, 3)).rgb.shape == (4, 3, 3)
    assert Picture.of(np.zeros((4, 3, 1))).rgb.shape == (4, 3, 3)


def test_a_picture_does_not_change_with_the_buffer_that_it_came_from():
    frame = np.zeros((2, 2, 3), np.uint8)
    picture = Picture.of(frame, 'rgb')
    frame[:] = 255
    assert picture.rgb.max() == 0


def test_arrays_without_an_order_are_rgb_and_this_is_said_once():
    with pytest.warns(FutureWarning, match="channel_order='bgr'"):
        np.testing.assert_array_equal(Picture.of(RGB).rgb, RGB)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for image in (RGB[..., 0], torch.from_numpy(RGB), Image.fromarray(RGB)):
            Picture.of(image)
        Picture.of(RGB, 'rgb')
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('default')
        for _ in range(3):
            Picture.of(RGB)
    assert len(caught) <= 1


def test_several_pictures():
    grey = torch.zeros(3, 4, 5)
    for several in ([grey], (grey, grey), torch.zeros(2, 3, 4, 5), np.zeros((2, 4, 5, 3), np.uint8), []):
        found, many = pictures_of(several, 'rgb')
        assert many and [p.rgb.shape for p in found] == [(4, 5, 3)] * len(several)
    assert pictures_of(grey)[1] is False
    with pytest.raises(UserError, match='picture 2 of 3: float pixels'):
        pictures_of([grey, grey - 1, grey])
    with pytest.raises(UnreadableImageError, match=r'no\.png'):
        pictures_of([grey, 'no.png'])


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (b'', r"'\(bytes\)': there are no bytes"),
        (b'no picture', r"'\(bytes\)': not a picture"),
        (io.StringIO('text'), "mode 'rb'"),
        (io.BytesIO(b'\x89PNG'), r"'\(open file\)': "),
        (None, 'got NoneType'),
        ({}, 'got dict'),
        (torch.zeros(2, 3), None),
        (torch.zeros(2, 4, 5), 'channels first'),
        (torch.full((3, 4, 5), float('nan')), 'nan'),
        (torch.randn(3, 40, 50), 'before mean and std'),
        (torch.zeros(3, 4, 5, dtype=torch.int64), 'int64; convert to uint8'),
        (np.zeros((4, 5, 3), object), 'object; convert'),
        (np.zeros((4, 5, 3), complex), 'complex'),
        (np.uint8(3), 'a single number'),
    ],
)
def test_what_is_no_picture_in_memory(image, message):
    if message is None:
        assert Picture.of(image).rgb.shape == (2, 3, 3)
        return
    with pytest.raises(UserError, match=message):
        Picture.of(image, 'rgb')


def test_orders_that_are_none():
    with pytest.raises(UserError, match="'rbg' must be 'rgb' or 'bgr'"):
        Picture.of(RGB, 'rbg')


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
