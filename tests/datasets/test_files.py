"""Reading label maps and sizes: what is accepted, and errors that name the file."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from denseclip.datasets.files import UnreadableFileError, image_size, read_label_map

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
