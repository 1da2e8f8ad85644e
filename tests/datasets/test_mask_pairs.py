"""Regions from pairs and from OVSeg's table: masks stay with their pictures through every step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from generated import write_dataset
from mmengine.dataset import Compose
from PIL import Image

from denseclip.datasets import MaskedRegionTable, MaskNounPairs
from denseclip.datasets.pair_store import MaskNounPair, PairStore, PairStoreError
from denseclip.datasets.transforms import RandomResizedRegion

LOAD = dict(type='LoadImageFromFile')


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset('mask_pairs', tmp_path_factory.mktemp('data') / 'pairs', num_train=2, num_val=2)


def pairs(root: Path, *steps: dict, **options) -> MaskNounPairs:
    prefix = dict(img_path='images/validation')
    return MaskNounPairs(
        data_root=str(root), ann_file='mask_pairs/validation', data_prefix=prefix, pipeline=list(steps), **options
    )


def coloured(*steps: dict, size: tuple[int, int] = (20, 30)) -> dict:
    """A picture that is (red, green, blue) = (200, 100, 50) on a tilted region, cut out by the given steps."""
    mask = np.zeros(size, bool)
    for row in range(4, 16):
        mask[row, row : row + 9] = True
    image = np.full((*size, 3), 255, np.uint8)
    image[mask] = (50, 100, 200)
    pair = MaskNounPair.of('x.jpg', mask, 'dog', 'a dog')
    code = {'size': list(pair.size), 'counts': pair.counts}
    return Compose(list(steps))(dict(img=image, segmentation=code, gt_caption='a dog', gt_label=3))


def test_names_and_synonyms_get_labels(root: Path) -> None:
    data = pairs(root, vocabulary={'plant': ['Tree', 'flower'], 'sky': []})
    labels = {info['caption_group']: info['gt_label'] for info in map(data.get_data_info, range(len(data)))}
    assert labels['tree'] == 0 and labels['boat'] == -1 and set(labels.values()) <= {0, 1, -1}
    assert data.metainfo['classes'] == ('plant', 'sky')


def test_pairs_below_a_score_are_left_out(tmp_path: Path) -> None:
    store = PairStore(tmp_path / 'p')
    store.begin({}, 1, 1)
    mask = np.ones((2, 2), bool)
    store.write(0, [MaskNounPair.of('a.jpg', mask, noun, noun, score) for noun, score in (('a', 0.1), ('b', 0.3))])
    read = MaskNounPairs(data_root=str(tmp_path), ann_file='p', data_prefix=dict(img_path=''), min_score=0.2)
    assert [read.get_data_info(i)['caption_group'] for i in range(len(read))] == ['b']
    store.path(0).unlink()
    with pytest.raises(PairStoreError, match='incomplete'):
        MaskNounPairs(data_root=str(tmp_path), ann_file='p', data_prefix=dict(img_path=''))


def test_the_whole_pipeline_gives_batches(root: Path) -> None:
    np.random.seed(0)  # noqa: NPY002  (the state that the suite seeds for every sample)
    data = pairs(root, LOAD, dict(type='CutRegion'), dict(type='RandomResizedRegion', size=24), dict(type='PackRegion'))
    for index in range(len(data)):
        sample = data[index]
        assert sample['inputs'].shape == (3, 24, 24) and sample['inputs'].dtype == torch.uint8
        assert sample['data_samples'].region_mask.any() and sample['data_samples'].caption.startswith('a photo of a ')


def test_only_the_region_keeps_its_colour() -> None:
    done = coloured(dict(type='CutRegion', fill=(1, 2, 3)))
    assert done['img'].shape == (12, 20, 3) and done['region_mask'].shape == (12, 20)
    inside = done['region_mask'].astype(bool)
    assert (done['img'][inside] == (50, 100, 200)).all() and (done['img'][~inside] == (3, 2, 1)).all()
    seen = coloured(dict(type='CutRegion', fill=None))
    assert (seen['img'][~inside] == 255).all() and (seen['region_mask'] == done['region_mask']).all()


@pytest.mark.parametrize('ratio', [1.0, 1.5, 9.0])
def test_a_larger_box_keeps_the_mask(ratio: float) -> None:
    done = coloured(dict(type='CutRegion', expand=ratio))
    assert done['region_mask'].sum() == 12 * 9
    assert done['img'].shape[:2] == {1.0: (12, 20), 1.5: (18, 29), 9.0: (20, 30)}[ratio]


@pytest.mark.parametrize('mode', ['squash', 'shortest'])
def test_squares(mode: str) -> None:
    done = coloured(dict(type='CutRegion', fill=(0, 0, 0)), dict(type='ResizeRegion', size=16, mode=mode))
    assert done['img'].shape == (16, 16, 3) and done['region_mask'].shape == (16, 16)
    core = done['img'][..., 2] > 190  # far enough from the border to be all region
    assert core.any() and done['region_mask'][core].all()


def test_explicit_masks_are_not_guessed_from_colours() -> None:
    """A region of the very colour that is painted around it is recovered by nothing but its mask."""
    fill = (200, 100, 50)
    done = coloured(dict(type='CutRegion', fill=fill))
    assert done['region_mask'].sum() == 12 * 9
    recovered = coloured(dict(type='CutRegion', fill=fill), dict(type='RecoverMask', fill=fill))
    assert recovered['region_mask'].sum() == 0


def test_erosion_takes_the_rim_off() -> None:
    fill = (9, 9, 9)
    cut = coloured(dict(type='CutRegion', fill=fill))
    eroded = coloured(dict(type='CutRegion', fill=fill), dict(type='RecoverMask', fill=fill, erode=3))
    assert 0 < eroded['region_mask'].sum() < cut['region_mask'].sum()
    assert (eroded['img'][~eroded['region_mask'].astype(bool)] == 9).all()
    with pytest.raises(ValueError, match='odd'):
        coloured(dict(type='RecoverMask', fill=fill, erode=2))


def test_a_mask_of_another_picture_is_refused() -> None:
    with pytest.raises(ValueError, match='were the pictures changed after mining'):
        pair = MaskNounPair.of('x.jpg', np.ones((4, 4), bool), 'dog', 'a dog')
        code = {'size': [4, 4], 'counts': pair.counts}
        Compose([dict(type='CutRegion')])(dict(img=np.zeros((5, 4, 3), np.uint8), segmentation=code))


def test_random_parts_stay_within_scale_and_ratio() -> None:
    np.random.seed(1)  # noqa: NPY002
    step = RandomResizedRegion(8, scale=(0.5, 0.6))
    for _ in range(50):
        left, top, right, bottom = step._part(40, 60)
        assert 0 <= left < right <= 60 and 0 <= top < bottom <= 40
        assert 0.4 < (right - left) * (bottom - top) / 2400 < 0.7


def test_the_authors_table(tmp_path: Path) -> None:
    image = np.full((6, 8, 3), (124, 116, 103), np.uint8)
    image[2:4, 3:6] = (10, 20, 30)
    Image.fromarray(image).save(tmp_path / 'a.png')
    (tmp_path / 'pairs.csv').write_text('filepath\ttitle\na.png\ta photo of a "big" dog in the scene\n')
    data = MaskedRegionTable(
        ann_file=str(tmp_path / 'pairs.csv'),
        data_prefix=dict(img_path=str(tmp_path)),
        pipeline=[LOAD, dict(type='RecoverMask'), dict(type='PackRegion')],
    )
    sample = data[0]['data_samples']
    assert sample.caption == 'a photo of a "big" dog in the scene' and sample.region_mask.sum() == 6
    (tmp_path / 'pairs.csv').write_text('filepath\ttitle\na.png\t\n')
    with pytest.raises(ValueError, match='line 2'):
        MaskedRegionTable(ann_file=str(tmp_path / 'pairs.csv'))
    (tmp_path / 'pairs.csv').write_text('filepath,title\n')
    with pytest.raises(ValueError, match='title and filepath'):
        MaskedRegionTable(ann_file=str(tmp_path / 'pairs.csv'))
    with pytest.raises(FileNotFoundError, match='nothing.csv'):
        MaskedRegionTable(ann_file=str(tmp_path / 'nothing.csv'))
