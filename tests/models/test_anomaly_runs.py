"""A picture's score is the same whatever the batch, the order, and the number of processes that share the data set."""

import numpy as np
import pytest
import torch
from generated import write_dataset
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS
from tiny_config import TINY_CLIP

SHALLOW = {**TINY_CLIP, 'vision_cfg': {**TINY_CLIP['vision_cfg'], 'layers': 2, 'image_size': 32}}
PIPELINE = [
    dict(type='LoadPicture'),
    dict(type='LoadAnomalyMask'),
    dict(type='ResizePicture', size=32),
    dict(type='PackAnomalyInputs'),
]


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'parts'
    write_dataset('anomaly_folder', root, num_train=1, num_val=3, size=(40, 52))
    return DATASETS.build(dict(type='AnomalyFolderDataset', data_root=str(root), pipeline=PIPELINE, object_name='part'))


def build():
    """A new model with the same weights, as another process has it."""
    torch.manual_seed(0)
    adaptation = dict(kind='linear', steps=2, seed=7)
    clip, tiling = dict(config=SHALLOW), dict(keep_ratio=True, tiles=True)
    return MODELS.build(
        dict(type='AnoVL', clip=clip, dual_layers=2, views=False, adaptation=adaptation, **tiling)
    ).eval()


def scores_of(dataset, batches):
    model, found = build(), {}
    for batch in batches:
        with torch.no_grad():
            for sample in model.test_step(pseudo_collate([dataset[index] for index in batch])):
                found[sample.img_path] = (sample.pred_score, sample.anomaly_map.data.numpy())
    return found


def test_batch_order_and_share_change_nothing(dataset):
    everything = list(range(len(dataset)))
    one_by_one = scores_of(dataset, [[index] for index in everything])
    shuffled = np.random.default_rng(0).permutation(everything).tolist()
    halves = {**scores_of(dataset, [everything[::2]]), **scores_of(dataset, [everything[1::2]])}
    for other in (scores_of(dataset, [shuffled]), scores_of(dataset, [shuffled[:4], shuffled[4:]]), halves):
        assert set(other) == set(one_by_one)
        for path, (score, pixels) in one_by_one.items():
            assert other[path][0] == score
            np.testing.assert_array_equal(other[path][1], pixels)
    assert len({score for score, _ in one_by_one.values()}) == len(everything)
