"""Reading label maps and sizes: what is accepted, and errors that name the file."""

from pathlib import Path

import mmcv
import numpy as np
import pytest
from PIL import Image

from denseclip.datasets.files import (
    PictureSize,
    UnreadableFileError,
    image_size,
    picture_size,
    read_label_map,
    read_text,
    turns_pictures,
)

LABELS = np.array([[0, 1, 2], [255, 4, 5]], dtype=np.uint8)


def test_grey_palette_and_16_bit_files_give_their_ids(tmp_path: Path) -> None:
    Image.fromarray(LABELS).save(tmp_path / 'grey.png')
    palette = Image.fromarray(LABELS, mode='P')
    palette.putpalette(list(range(256)) * 3)
    palette.save(tmp_path / 'palette.png')
    np.testing.assert_array_equal(read_label_map(tmp_path / 'grey.png'), LABELS)
    np.testing.assert_array_equal(read_label_map(tmp_path / 'palette.png'), LABELS)
    wide = LABELS.astype(np.uint16) + 300
    Image.fromarray(wide).save(tmp_path / 'wide.png')
    np.testing.assert_array_equal(read_label_map(tmp_path / 'wide.png'), wide)


def test_one_bit_file_becomes_zero_and_one(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / 'bit.png')
    np.testing.assert_array_equal(read_label_map(tmp_path / 'bit.png'), [[1, 0]])


def test_colours_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / 'rgb.png')
    with pytest.raises(UnreadableFileError, match=r'rgb\.png: holds 3 channels'):
        read_label_map(tmp_path / 'rgb.png')


def test_size_is_height_then_width(tmp_path: Path) -> None:
    Image.new('RGB', (7, 5)).save(tmp_path / 'a.jpg')
    assert image_size(tmp_path / 'a.jpg') == (5, 7)


@pytest.mark.parametrize('reader', [image_size, read_label_map])
@pytest.mark.parametrize('content', [None, b'', b'not a picture', 'cut'])
def test_missing_empty_and_cut_files_are_named(tmp_path: Path, reader, content) -> None:
    path = tmp_path / 'bad.png'
    if content == 'cut':
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:1000])
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r'bad\.png'):
        reader(path)


def turned(path: Path, orientation: int, size: tuple[int, int] = (6, 4)) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new('RGB', size).save(path, exif=exif)
    return path


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
@pytest.mark.parametrize('suffix', ['jpg', 'png', 'tif', 'webp'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_sizes_are_those_that_the_readers_of_pipelines_see(
    tmp_path: Path, orientation: int, suffix: str, backend: str
) -> None:
    path = turned(tmp_path / f'a.{suffix}', orientation)
    size = picture_size(path)
    assert image_size(path) == size.upright == mmcv.imread(path, backend=backend).shape[:2]
    stored = mmcv.imread(path, flag='color_ignore_orientation', backend=backend)
    assert size.stored == stored.shape[:2] == mmcv.imread(path, flag='unchanged', backend=backend).shape[:2]


def test_strange_orientations_are_none(tmp_path: Path) -> None:
    assert picture_size(turned(tmp_path / 'a.jpg', 77)) == PictureSize((4, 6))


def test_faults_of_sizes_name_turning_as_the_cause_where_it_is() -> None:
    size = PictureSize((4, 6), 6)
    assert size.fault((6, 4), 'says') is None and size.fault((4, 6), 'says', upright=False) is None
    assert size.fault((5, 5), 'says') == 'says'
    assert 'orientation 6' in str(size.fault((4, 6), 'says'))
    assert 'color_ignore_orientation' in str(size.fault((4, 6), 'says', in_config=True))
    assert 'take color_type' in str(size.fault((6, 4), 'says', upright=False))


@pytest.mark.parametrize(
    ('step', 'turns'),
    [
        ({}, True),
        ({'color_type': 'grayscale'}, True),
        ({'color_type': 'color_ignore_orientation'}, False),
        ({'color_type': 'unchanged'}, False),
        ({'imdecode_backend': 'pillow'}, True),
        ({'imdecode_backend': 'tifffile'}, False),
    ],
)
def test_pipelines_that_turn(step: dict, turns: bool) -> None:
    assert turns_pictures([{'type': 'mmseg.LoadImageFromFile', **step}, {'type': 'Resize'}]) is turns
    assert turns_pictures([])


def test_text_is_utf8_or_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / 'train.txt'
    path.write_bytes('\ufeffBäume\r\n'.encode())
    assert read_text(path).split() == ['Bäume']
    path.write_bytes('Bäume'.encode('latin-1'))
    with pytest.raises(UnreadableFileError, match=r'train\.txt: is no UTF-8 text \(byte 1\)'):
        read_text(path)
    with pytest.raises(UnreadableFileError, match=r'lost\.txt: cannot be read'):
        read_text(tmp_path / 'lost.txt')
