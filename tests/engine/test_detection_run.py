"""A detector from end to end on COCO's layout: train, resume, test, results for the COCO server, pictures."""

import json
import math

import pytest
import torch
from generated import write_dataset
from PIL import Image
from pycocotools.coco import COCO
from tiny_detectors import detection_run

from denseclip.engine import launch
from denseclip.engine.launch import TestOptions, TrainOptions, train

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings('ignore')]


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    """Config of a small Mask R-CNN-DenseCLIP on four generated pictures, from the suite's own base files."""
    folder = tmp_path_factory.mktemp('run')
    data = write_dataset('coco', folder / 'coco', num_train=4, num_val=2, size=(64, 96))
    made = detection_run('mask-rcnn', data, epochs=2)
    made.default_hooks.checkpoint.update(max_keep_ckpts=-1, save_best=None)
    made.dump(folder / 'tiny.py')
    return folder / 'tiny.py'


@pytest.fixture(scope='module')
def trained(config):
    """Work directory of two epochs without a stop."""
    runner = train(config, TrainOptions(work_dir=str(config.parent / 'whole'), seed=0))
    assert runner.iter == 4
    assert math.isfinite(runner.message_hub.get_scalar('val/coco/segm_mAP').current())
    return config.parent / 'whole'


def test_resume_is_exact(config, trained):
    work_dir = config.parent / 'stopped'
    once = dict(overrides={'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1})
    train(config, TrainOptions(work_dir=str(work_dir), seed=0, **once))
    train(config, TrainOptions(work_dir=str(work_dir), seed=0, resume='auto'))
    whole, resumed = (torch.load(d / 'epoch_2.pth', weights_only=True) for d in (trained, work_dir))
    assert whole['state_dict'].keys() == resumed['state_dict'].keys()
    assert all(torch.equal(value, resumed['state_dict'][name]) for name, value in whole['state_dict'].items())


def test_results_for_the_server_and_pictures(config, trained, tmp_path):
    options = TestOptions(
        work_dir=str(tmp_path / 'work'),
        out=str(tmp_path / 'results'),
        show_dir=str(tmp_path / 'pictures'),
        overrides={'model.test_cfg.rcnn.score_thr': 0.0},
    )
    scores = launch.test(config, trained / 'epoch_2.pth', options)
    assert {'coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/segm_mAP'} <= set(scores)
    truth = COCO(config.parent / 'coco/annotations/instances_val2017.json')
    for kind in ('bbox', 'segm'):
        path = tmp_path / 'results' / f'results.{kind}.json'
        assert json.loads(path.read_text())
        loaded = truth.loadRes(str(path))  # refuses pictures and categories that are not the ground truth's
        assert set(loaded.getCatIds()) == set(truth.getCatIds())
    drawn = sorted((tmp_path / 'pictures').rglob('*.jpg'))
    assert len(drawn) == 2 and Image.open(drawn[0]).size[1] == 64
