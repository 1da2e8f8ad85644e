"""Label maps of one's own as a data set."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image

from denseclip.datasets.files import UnreadableFileError


@pytest.fixture
def entry(tmp_path: Path) -> dict:
    """Four pictures: class b is in one of them; ids 7, 8 and 11, of which 11 is no class."""
    for name, ids in {'0': (7, 11), '1': (7,), '2': (7, 255), '3': (8, 7)}.items():
        labels = np.full((4, 6), ids[0], np.uint8)
        labels[:2] = ids[-1]
        Image.fromarray(labels).save(tmp_path / f'{name}.png')
        Image.fromarray(labels).save(tmp_path / f'{name}.jpg')
    folders = dict(img_path=str(tmp_path), seg_map_path=str(tmp_path))
    init_default_scope('mmseg')
    return dict(
        type='LabelMapDataset',
        data_prefix=folders,
        metainfo=dict(classes=['a', 'b']),
        class_ids=[7, 8],
        ignore_ids=[11],
        pipeline=[],
    )


def test_it_says_which_classes_a_picture_holds(entry: dict) -> None:
    dataset = DATASETS.build(entry)
    assert [dataset.get_cat_ids(place) for place in range(4)] == [[0], [0], [0], [0, 1]]


def test_rare_classes_are_shown_more_often(entry: dict) -> None:
    balanced = DATASETS.build(dict(type='ClassBalancedDataset', oversample_thr=1.0, dataset=entry))
    assert balanced.repeat_indices == [0, 1, 2, 3, 3]  # sqrt(1 / 0.25) = 2


def test_a_damaged_label_map_is_named(entry: dict, tmp_path: Path) -> None:
    (tmp_path / '2.png').write_bytes(b'')
    with pytest.raises(UnreadableFileError, match=r'2\.png'):
        DATASETS.build(dict(type='ClassBalancedDataset', oversample_thr=1.0, dataset=entry))
