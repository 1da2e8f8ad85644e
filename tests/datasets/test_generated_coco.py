"""Generated COCO instances, read by pycocotools and by MMDetection's data sets."""

import numpy as np
import pytest
from generated import write_dataset
from mmdet.datasets import CocoDataset
from mmengine.registry import DATASETS
from pycocotools.coco import COCO

from denseclip.clip.vocabulary import Vocabulary

ROOT_NAMES = {'coco': 'train2017', 'bccd': 'train'}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return write_dataset('coco', tmp_path_factory.mktemp('data') / 'coco', num_train=4, num_val=1, size=(60, 80))


def test_categories_are_cocos(root):
    coco = COCO(root / 'annotations/instances_train2017.json')
    categories = coco.loadCats(coco.getCatIds())
    assert [c['name'] for c in categories] == list(CocoDataset.METAINFO['classes']) == list(Vocabulary.of('coco').names)
    assert categories[11]['id'] == 13 and categories[-1]['id'] == 90


def test_masks_fill_their_boxes_and_areas(root):
    coco = COCO(root / 'annotations/instances_train2017.json')
    annotations = coco.loadAnns(coco.getAnnIds())
    assert {a['iscrowd'] for a in annotations} == {0, 1}
    for annotation in annotations:
        mask = coco.annToMask(annotation)
        rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        left, top, width, height = annotation['bbox']
        assert left <= cols[0] and cols[-1] < left + width and top <= rows[0] and rows[-1] < top + height
        # a polygon fills holes where another shape covers the object; run lengths are exact
        ratio = mask.sum() / annotation['area']
        assert ratio == 1 if annotation['iscrowd'] else 0.8 < ratio < 1.5, ratio


@pytest.mark.parametrize('layout', ['coco', 'bccd'])
def test_the_real_classes_read_it(layout, root, tmp_path):
    folder = ROOT_NAMES[layout]
    if layout == 'bccd':
        root = write_dataset('bccd', tmp_path / 'bccd', num_train=3, num_val=1, size=(60, 80))
    kind = {'coco': 'mmdet.CocoDataset', 'bccd': 'BCCDDataset'}[layout]
    dataset = DATASETS.build(
        dict(
            type=kind,
            data_root=str(root),
            ann_file=f'annotations/instances_{folder}.json',
            data_prefix=dict(img=folder),
            filter_cfg=dict(filter_empty_gt=True, min_size=32),
        )
    )
    assert len(dataset) == len(list((root / folder).iterdir()))
    labels = {i['bbox_label'] for k in range(len(dataset)) for i in dataset.get_data_info(k)['instances']}
    assert labels and labels <= set(range(len(dataset.metainfo['classes'])))
