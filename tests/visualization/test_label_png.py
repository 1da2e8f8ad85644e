"""Label maps survive the way through a PNG file, with the names of their classes."""

import numpy as np
import pytest
from PIL import Image

from denseclip.visualization.label_png import encode_label_png, read_label_png
from denseclip.visualization.palette import distinct_palette


@pytest.mark.parametrize(('num_classes', 'dtype'), [(1, np.uint8), (3, np.uint8), (256, np.uint8), (847, np.uint16)])
def test_round_trip(tmp_path, num_classes, dtype):
    labels = np.random.default_rng(0).integers(0, num_classes, (7, 9)).astype(np.int16)
    labels.flat[0] = num_classes - 1
    names = [f'größe {{}} {k}' for k in range(num_classes)]
    path = tmp_path / 'labels.png'
    path.write_bytes(encode_label_png(labels, names, distinct_palette(num_classes)))
    again, read_names = read_label_png(path)
    assert again.dtype == dtype
    assert read_names == names
    np.testing.assert_array_equal(again, labels)


def test_viewers_see_the_colours(tmp_path):
    path, palette = tmp_path / 'labels.png', distinct_palette(3)
    path.write_bytes(encode_label_png(np.array([[2, 0]], np.uint8), ['a', 'b', 'c'], palette))
    with Image.open(path) as picture:
        assert picture.mode == 'P'
        np.testing.assert_array_equal(np.asarray(picture.convert('RGB'))[0], palette[[2, 0]])


def test_ignored_pixels_stay_255(tmp_path):
    path = tmp_path / 'labels.png'
    path.write_bytes(encode_label_png(np.array([[0, 255]], np.uint8), ['a'], distinct_palette(1)))
    np.testing.assert_array_equal(read_label_png(path)[0], [[0, 255]])


@pytest.mark.parametrize(('label', 'num_classes'), [(3, 3), (-1, 3), (300, 300)])
def test_labels_out_of_range_are_refused(label, num_classes):
    with pytest.raises(ValueError, match='do not fit'):
        encode_label_png(np.array([[label]]), ['a'] * num_classes, distinct_palette(num_classes))


def test_other_png_files_have_no_names(tmp_path):
    path = tmp_path / 'plain.png'
    Image.new('L', (2, 2)).save(path)
    assert read_label_png(path)[1] == []
