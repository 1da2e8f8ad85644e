"""CamVidDataset: files found, ids mapped, subsets of classes."""

from pathlib import Path

import numpy as np
import pytest
from generated import write_dataset
from mmseg.registry import DATASETS
from PIL import Image

from denseclip.clip.vocabulary import Vocabulary
from denseclip.datasets import CamVidDataset

PREFIX = dict(img_path='train', seg_map_path='trainannot')
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='mmseg.LoadAnnotations')]


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset('camvid', tmp_path_factory.mktemp('camvid'), num_train=2, num_val=1, size=(48, 64))


def test_loads_pairs_and_ignores_the_unlabelled_id(root: Path) -> None:
    dataset = CamVidDataset(data_root=str(root), data_prefix=PREFIX, pipeline=PIPELINE)
    assert len(dataset) == 2
    sample = dataset[0]
    assert sample['img'].shape == (48, 64, 3)
    on_disk = np.asarray(Image.open(sample['seg_map_path']))
    assert 11 in on_disk
    expected = np.where(on_disk == 11, 255, on_disk)
    np.testing.assert_array_equal(sample['gt_seg_map'], expected)


def test_class_subset_keeps_the_unlabelled_id_ignored(root: Path) -> None:
    dataset = CamVidDataset(
        data_root=str(root), data_prefix=PREFIX, pipeline=PIPELINE, metainfo=dict(classes=('building', 'sky'))
    )
    assert dataset.label_map[0] == 1 and dataset.label_map[1] == 0
    assert dataset.label_map[11] == 255 and dataset.label_map[2] == 255
    assert dataset.metainfo['palette'] == [[128, 0, 0], [128, 128, 128]]
    assert set(np.unique(dataset[0]['gt_seg_map'])) <= {0, 1, 255}


def test_metainfo_is_consistent() -> None:
    meta = CamVidDataset.METAINFO
    assert len(meta['classes']) == len(meta['palette']) == 11
    assert len({tuple(colour) for colour in meta['palette']}) == 11


def test_is_found_from_mmseg_scope() -> None:
    assert DATASETS.get('CamVidDataset') is CamVidDataset


def test_vocabularies_have_the_classes_in_label_order() -> None:
    def plain(name: str) -> str:
        return name.replace(' ', '').lower()

    trained = Vocabulary.named('camvid')
    assert [plain(name) for name in trained.names] == [plain(name) for name in CamVidDataset.METAINFO['classes']]
    held_out = Vocabulary.named('camvid_synonyms')
    assert len(held_out) == 11
    assert not {plain(p) for p in trained.prompts} & {plain(p) for p in held_out.prompts}
