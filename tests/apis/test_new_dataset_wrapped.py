"""Configs of ``denseclip new-dataset`` whose data sets are put together: labels by name, audit, training to the end."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generated import write_dataset
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image

from denseclip.apis.config import dataset_meta
from denseclip.apis.new_dataset import new_dataset
from denseclip.datasets.audit import audit_split
from denseclip.engine.launch import TrainOptions, train

WORDS = 'ground; block; bar'
NAMES = ('red block', 'blue block', 'green block')


def write_maps(root: Path, seed: int, size: tuple[int, int]) -> Path:
    """Noise with a bright rectangle of class 1 or 2."""
    rng = np.random.default_rng(seed)
    for split, count in (('train', 4), ('val', 2)):
        for number in range(count):
            image, labels = rng.integers(0, 90, (*size, 3), dtype=np.uint8), np.zeros(size, np.uint8)
            image[8:30, 10:40], labels[8:30, 10:40] = 200, 1 + number % 2
            for folder, pixels in (('images', image), ('masks', labels)):
                path = root / folder / split / f'{number}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    return root


@pytest.fixture(scope='module')
def maps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Any, Any]:
    """A config and the training sets of two folders, the second with pictures of another shape."""
    root = tmp_path_factory.mktemp('maps')
    found = []
    for name, size in (('a', (48, 64)), ('b', (64, 48))):
        made = new_dataset(write_maps(root / name, len(found), size), root / f'{name}.py', classes=WORDS)
        assert made.ok
        found.append(Config.fromfile(made.config))
    return found[0], found[0].train_dataloader.dataset, found[1].train_dataloader.dataset


def quick(config: Config) -> Config:
    config = Config(copy.deepcopy(config.to_dict()))
    for split in ('train', 'val', 'test'):
        config[f'{split}_dataloader'].update(num_workers=0, persistent_workers=False)
    config.train_dataloader.batch_size, config.param_scheduler = 2, []
    return config


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
def test_label_maps_of_two_folders_train_to_the_end(maps: tuple[Config, Any, Any], tmp_path: Path) -> None:
    config, *parts = maps
    config = quick(config)
    config.train_dataloader.dataset = dict(type='ConcatDataset', datasets=parts)
    config.val_dataloader.dataset = dict(type='ConcatDataset', datasets=[config.val_dataloader.dataset] * 2)
    config.train_cfg.update(max_iters=2, val_interval=2)
    config.dump(tmp_path / 'both.py')
    runner = train(tmp_path / 'both.py', TrainOptions(work_dir=str(tmp_path / 'work'), seed=0))
    assert runner.iter == 2 and len(runner.train_dataloader.dataset) == 8
    assert [type(hook).__name__ for hook in runner.hooks].count('PreciseBNHook') == 1


def test_the_audit_names_part_and_id(maps: tuple[Config, Any, Any], tmp_path: Path) -> None:
    config, first, second = maps
    broken = write_maps(tmp_path / 'broken', 3, (48, 64))
    path = broken / 'masks/train/2.png'
    Image.fromarray(np.full((48, 64), 5, np.uint8)).save(path)
    third = copy.deepcopy(first)
    third.data_prefix = {'img_path': str(broken / 'images/train'), 'seg_map_path': str(broken / 'masks/train')}
    config = Config(config.to_dict())
    config.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[first, third, second])
    reports = dict(audit_split(config, 'train'))
    assert [report.ok for report in reports.values()] == [True, False, True]
    assert list(reports) == [f'train, part {number} of 3' for number in (1, 2, 3)]
    assert f'{path}: label ids out of range: 5' in reports['train, part 2 of 3'].render()


def test_names_of_a_concatenated_test_set(maps: tuple[Config, Any, Any]) -> None:
    config = Config(maps[0].to_dict())
    config.test_dataloader.dataset = dict(type='ConcatDataset', datasets=[config.test_dataloader.dataset] * 2)
    assert tuple(dataset_meta(config)['classes']) == ('ground', 'block', 'bar')


@pytest.fixture
def boxes(tmp_path: Path) -> Config:
    """Two files that hold a part of three classes each, in one config."""
    root = write_dataset('bccd', tmp_path / 'cells', num_train=4, num_val=2, size=(48, 64))
    held = {'one': ((1, 'blue block'), (2, 'red block')), 'two': ((1, 'green block'),)}
    for name, categories in held.items():
        shutil.copytree(root, tmp_path / name)
        for path in (tmp_path / name / 'annotations').glob('*.json'):
            content = json.loads(path.read_text())
            known = sorted(entry['id'] for entry in content['categories'])[: len(categories)]
            content['annotations'] = [a for a in content['annotations'] if a['category_id'] in known]
            for entry in content['annotations']:
                entry['category_id'] = categories[known.index(entry['category_id'])][0]
            content['categories'] = [{'id': number, 'name': word} for number, word in categories]
            path.write_text(json.dumps(content))
    configs = [Config.fromfile(new_dataset(tmp_path / name, tmp_path / f'{name}.py').config) for name in held]
    config = quick(configs[0])
    for split in ('train', 'val', 'test'):
        for one in configs:
            one[f'{split}_dataloader'].dataset.metainfo = {'classes': NAMES}
        config[f'{split}_dataloader'].dataset.metainfo = {'classes': NAMES}
    parts = [one.train_dataloader.dataset for one in configs]
    config.train_dataloader.dataset = dict(type='ConcatDataset', datasets=parts)
    config.model.vocabulary, config.model.bbox_head.num_classes = list(NAMES), 3
    config.model.neck.in_channels = [24, 40, 112, 323]
    return config


def test_labels_of_concatenated_boxes_follow_names(boxes: Config) -> None:
    init_default_scope('mmdet')
    dataset = DATASETS.build(boxes.train_dataloader.dataset)
    words = []
    for part in dataset.datasets:
        truth = json.loads(Path(part.ann_file).read_text())
        names = {entry['id']: entry['name'] for entry in truth['categories']}
        for index in range(len(part)):
            info = part.get_data_info(index)
            wanted = [names[a['category_id']] for a in truth['annotations'] if a['image_id'] == info['img_id']]
            assert sorted(NAMES[entry['bbox_label']] for entry in info['instances']) == sorted(wanted)
            words.append(set(wanted))
    assert set.union(*words) == set(NAMES)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
def test_boxes_of_two_files_train_to_the_end(boxes: Config, tmp_path: Path) -> None:
    boxes.train_cfg.update(max_epochs=1, val_interval=1)
    boxes.model.test_cfg.score_thr = 0.0  # an untrained detector finds nothing above the usual one
    boxes.dump(tmp_path / 'both.py')
    runner = train(tmp_path / 'both.py', TrainOptions(work_dir=str(tmp_path / 'work'), seed=0))
    assert all(len(part) for part in runner.train_dataloader.dataset.datasets)
    assert runner.epoch == 1 and runner.iter == len(runner.train_dataloader) > 1
    assert runner.message_hub.get_scalar('val/coco/bbox_mAP').current() >= -1
