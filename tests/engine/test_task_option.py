"""``--task``: one checkpoint, one data set, three results and their scores."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from generated import write_dataset
from mmengine.config import Config
from safetensors.torch import save_file
from tiny_config import CONFIGS
from tiny_pmp_hosts import FCCLIP

from denseclip.engine.config import OptionError
from denseclip.engine.launch import TestOptions, set_task
from denseclip.engine.launch import test as run_test
from denseclip.evaluation.panoptic_files import read_panoptic_json, read_panoptic_png
from denseclip.models.builder import build_module

MODEL = {**FCCLIP, 'vocabulary': 'coco_panoptic', 'things': 'coco'}


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A config over the base of COCO panoptic, and weights for it."""
    folder = tmp_path_factory.mktemp('task')
    root = write_dataset('coco_panoptic', folder / 'data', num_train=1, num_val=2, size=(64, 64))
    torch.manual_seed(0)
    save_file({k: v.clone() for k, v in build_module(MODEL).state_dict().items()}, folder / 'model.safetensors')
    base = Config.fromfile(CONFIGS / '_base_/datasets/coco-panoptic-test_1333x800.py')
    base.merge_from_dict(dict(default_scope='mmseg', model=MODEL, test_cfg=dict(type='TestLoop')))
    backends = [dict(type='LocalVisBackend')]
    base.visualizer = dict(type='SegLocalVisualizer', vis_backends=backends)
    base.default_hooks = dict(visualization=dict(type='SegVisualizationHook'))
    base.test_dataloader.dataset.data_root = str(root)
    base.test_dataloader.update(num_workers=0, persistent_workers=False)
    for step in base.test_dataloader.dataset.pipeline:
        if step.type == 'PillowResizeShortSide':
            step.update(short_side=64, max_long_side=128)
    base.pop('val_dataloader')
    base.pop('val_evaluator')
    base.dump(folder / 'config.py')
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(('task', 'score'), [('semantic', 'mIoU'), ('panoptic', 'PQ'), ('instance', 'AP')])
def test_each_task_is_scored(task, score, run, tmp_path):
    painted = str(tmp_path / 'painted')
    options = TestOptions(work_dir=str(tmp_path / 'work'), out=str(tmp_path / 'out'), show_dir=painted, task=task)
    metrics = run_test(run / 'config.py', run / 'model.safetensors', options)
    assert math.isfinite(metrics[score])
    assert len([p for p in Path(painted).rglob('*.png') if p.stat().st_size]) == 2
    if task == 'panoptic':
        content = read_panoptic_json(tmp_path / 'out' / 'panoptic.json')
        assert len(content['annotations']) == 2
        for annotation in content['annotations']:
            ids = read_panoptic_png(tmp_path / 'out' / 'panoptic' / annotation['file_name'])
            assert set(ids.flatten().tolist()) - {0} == {s['id'] for s in annotation['segments_info']}
    elif task == 'instance':
        assert isinstance(json.loads((tmp_path / 'out' / 'instances.json').read_text()), list)


def test_configs_without_the_task_say_so():
    config = Config(dict(model=dict(type='FCCLIP'), task_evaluators=dict(semantic=dict(type='IoUMetric'))))
    set_task(config, 'semantic')
    assert config.model.test_cfg.task == 'semantic' and config.test_evaluator.type == 'IoUMetric'
    with pytest.raises(OptionError, match='there are semantic'):
        set_task(config, 'panoptic')
    with pytest.raises(OptionError, match='one task only'):
        set_task(Config(dict(model={})), 'panoptic')
