"""Every config trains a step, validates and tests on data of its own data set's layout."""

from __future__ import annotations

import gc
import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from tiny_config import all_configs, shallow_resnets, tiny_config, trains

from denseclip.engine.config import use_suite_hooks, use_tta
from denseclip.engine.runner import SuiteRunner

SCORES = {
    'AnomalyMetric': 'pixel_AUROC',
    'IoUMetric': 'mIoU',
    'NamedCocoMetric': 'coco/bbox_mAP',
    'RegionMetric': 'top1',
    'PanopticQualityMetric': 'PQ',
    'SemanticMetric': 'mIoU',
}
"""What each metric's class calls its main number."""


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of generated data, shared by all configs."""
    return tmp_path_factory.mktemp('data')


@pytest.fixture(autouse=True)
def quick():
    """One thread, shallow ResNets."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with shallow_resnets():
        yield
    torch.set_num_threads(before)
    gc.collect()  # a runner is a ring, and holds a model


def runner_of(config: Config, work_dir: Path) -> SuiteRunner:
    """What ``tools/train.py`` and ``tools/test.py`` build from a config."""
    config.merge_from_dict(dict(work_dir=str(work_dir), randomness=dict(seed=0), launcher='none'))
    use_suite_hooks(config)
    return SuiteRunner.from_cfg(config)


def latest(runner: SuiteRunner, name: str) -> float:
    return runner.message_hub.get_scalar(name).current()


def without_gradient(runner: SuiteRunner) -> list[str]:
    """Trainable parameters that the step did not reach; DistributedDataParallel would stop at them."""
    state = runner.optim_wrapper.optimizer.state
    return [name for name, p in runner.model.named_parameters() if p.requires_grad and p not in state]


@pytest.mark.slow
@pytest.mark.parametrize('path', all_configs(), ids=lambda p: p.stem)
def test_trains_validates_and_tests(path: Path, data: Path, tmp_path: Path) -> None:
    config = tiny_config(path, data)
    score = SCORES[config.val_evaluator.type]
    runner = runner_of(config, tmp_path)
    if not trains(config):
        assert math.isfinite(runner.test()[score])
        return
    runner.train()
    assert runner.iter == 1
    assert math.isfinite(latest(runner, 'train/loss'))
    assert math.isfinite(latest(runner, f'val/{score}'))
    if not runner.cfg.get('find_unused_parameters', False):
        assert without_gradient(runner) == []
    assert math.isfinite(runner.test()[score])


@pytest.mark.slow
@pytest.mark.parametrize('method', ['denseclip_fpn', 'fpn'])
def test_multi_scale_flip_test_runs(method: str, data: Path, tmp_path: Path) -> None:
    config = tiny_config(Path(f'denseclip/{method}_efficientnet-lite0_camvid-320x400.py'), data)
    use_tta(config)
    assert math.isfinite(runner_of(config, tmp_path).test()['mIoU'])
