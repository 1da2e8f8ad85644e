"""Batch-norm statistics of the final weights."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook
from torch import Tensor, nn

from denseclip.engine.hooks import PreciseBNHook
from denseclip.engine.hooks.precise_bn import measure_batch_norm


class Model(nn.Module):
    """A learning layer, a frozen one and dropout behind them, so that a pass draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.frozen = nn.BatchNorm1d(3, momentum=0.3), nn.BatchNorm1d(3)
        self.train()
        self.frozen.eval()

    def data_preprocessor(self, batch: Tensor, training: bool) -> dict[str, Tensor]:
        assert training
        return {'inputs': batch}

    def forward(self, inputs: Tensor, mode: str) -> dict[str, Tensor]:
        assert mode == 'loss' and not torch.is_grad_enabled()
        return {'loss': nn.functional.dropout(self.frozen(self.norm(inputs)), 0.5).sum()}


@pytest.fixture
def batches() -> list[Tensor]:
    return list(torch.randn(4, 16, 3, generator=torch.Generator().manual_seed(0)) * 5 + 2)


def test_statistics_are_the_mean_over_the_batches(batches: list[Tensor]) -> None:
    model = Model()
    assert measure_batch_norm(model, batches) == 1
    assert torch.allclose(model.norm.running_mean, torch.stack(batches).mean(dim=(0, 1)), atol=1e-6)
    assert torch.allclose(model.norm.running_var, torch.stack([b.var(dim=0) for b in batches]).mean(dim=0), atol=1e-5)
    assert model.norm.momentum == 0.3
    assert torch.equal(model.frozen.running_mean, torch.zeros(3))


def run(hook: PreciseBNHook, iterations: range, batches: list[Tensor]) -> Model:
    model = Model()
    runner: Any = SimpleNamespace(
        model=model,
        max_iters=5,
        hooks=[],
        cfg=None,
        build_dataloader=lambda config, seed: batches,
        logger=SimpleNamespace(info=lambda text: None),
    )
    hook.before_train(runner)
    for runner.iter in iterations:
        hook.after_train_iter(runner, runner.iter)
    return model


def test_measures_after_the_last_iteration_only_and_draws_nothing_outside(batches: list[Tensor]) -> None:
    hook = PreciseBNHook(dataloader={'batch_size': 4})
    assert torch.equal(run(hook, range(4), batches).norm.running_mean, torch.zeros(3))
    before = torch.get_rng_state()
    assert not torch.equal(run(hook, range(5), batches).norm.running_mean, torch.zeros(3))
    assert torch.equal(torch.get_rng_state(), before)


def test_no_moving_average_beside_it() -> None:
    with pytest.raises(ValueError, match='use one of them'):
        PreciseBNHook(dataloader={'batch_size': 4}).before_train(SimpleNamespace(hooks=[EMAHook()]))


def test_the_training_set_is_read_as_testing_reads() -> None:
    config = Config(
        {
            'train_dataloader': {
                'num_workers': 1,
                'dataset': {'type': 'Set', 'data_root': 'mine', 'pipeline': ['crop']},
            },
            'test_dataloader': {'dataset': {'type': 'Set', 'data_root': 'other', 'pipeline': ['whole']}},
        }
    )
    loader = PreciseBNHook(batch_size=3).loader_config(config)
    assert (loader['batch_size'], loader['num_workers']) == (3, 1)
    assert loader['dataset'] == {'type': 'Set', 'data_root': 'mine', 'pipeline': ['whole']}
    assert config.train_dataloader.dataset.pipeline == ['crop']


def test_wrapped_data_sets_need_a_data_loader() -> None:
    config = Config(
        {
            'train_dataloader': {'dataset': {'type': 'RepeatDataset', 'dataset': {'pipeline': []}}},
            'test_dataloader': {'dataset': {'type': 'Set', 'pipeline': []}},
        }
    )
    with pytest.raises(ValueError, match='RepeatDataset.*dataloader='):
        PreciseBNHook().loader_config(config)
