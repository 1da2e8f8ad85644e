"""Models without anything to train in several processes."""

import pytest
import torch.distributed as dist
from mmengine.runner import Runner
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from denseclip.compat import distributed
from denseclip.engine.runner import SuiteRunner


@pytest.fixture
def runner(monkeypatch):
    """A runner that is not set up; MMEngine's own wrapping is noted instead of done."""
    monkeypatch.setattr(Runner, 'wrap_model', lambda self, cfg, model: ('wrapped', cfg, model))
    return SuiteRunner.__new__(SuiteRunner)


def test_a_frozen_model_is_left_as_it_is(runner):
    model = nn.Linear(2, 2).requires_grad_(False)
    assert runner.wrap_model(None, model) is model


def test_a_frozen_model_is_left_as_it_is_in_processes_on_a_cpu(runner, monkeypatch):
    """There the suite itself asks for MMEngine's plain wrapper, without device ids."""
    monkeypatch.setattr(distributed, 'has_accelerator', lambda: False)
    monkeypatch.setattr(dist, 'is_initialized', lambda: True)
    config = {'model': {'type': 'Any'}}
    distributed.prepare('pytorch', config)
    model = nn.Linear(2, 2).requires_grad_(False)
    assert config['model_wrapper_cfg']['type'] == 'MMDistributedDataParallel'
    assert runner.wrap_model(config['model_wrapper_cfg'], model) is model
    trained = nn.Linear(2, 2)
    assert runner.wrap_model(config['model_wrapper_cfg'], trained)[0] == 'wrapped'


def test_other_models_and_own_wrappers_go_to_mmengine(runner):
    model = nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    assert runner.wrap_model(None, model) == ('wrapped', None, model)
    frozen, own = nn.Linear(2, 2).requires_grad_(False), dict(type='Mine')
    assert runner.wrap_model(own, frozen) == ('wrapped', own, frozen)


def test_pytorch_refuses_a_frozen_model(tmp_path):
    """The reason for the above; if this fails, the override can go."""
    dist.init_process_group('gloo', init_method=f'file://{tmp_path}/group', rank=0, world_size=1)
    try:
        with pytest.raises(RuntimeError, match='requires a gradient'):
            DistributedDataParallel(nn.Linear(2, 2).requires_grad_(False))
    finally:
        dist.destroy_process_group()
