"""A NaN stops the run and says where it came from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from denseclip.engine.hooks import NonFiniteLossHook
from denseclip.engine.hooks.non_finite_loss import NonFiniteLossError


@HOOKS.register_module()
class BreakWeightsHook(Hook):
    """Spoil the weights before the fourth iteration."""

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == 3:
            runner.model.head.weight.data.fill_(float('nan'))


def test_a_run_stops_with_iteration_images_and_rates(train_toy, tmp_path: Path) -> None:
    overrides = {'custom_hooks': [dict(type='BreakWeightsHook')], 'default_hooks.checkpoint.interval': 1}
    with pytest.raises(NonFiniteLossError) as caught:
        train_toy(tmp_path, **overrides)
    for part in ('iteration 4', 'loss=nan', 'learning rates: 0.0', 'picture_', 'denseclip check', '--resume'):
        assert part in str(caught.value)
    last = torch.load((tmp_path / 'last_checkpoint').read_text(), weights_only=True)
    assert last['meta']['iter'] == 3
    assert all(value.isfinite().all() for value in last['state_dict'].values())


@pytest.mark.parametrize('value', [float('inf'), torch.tensor(float('-inf')), torch.tensor([float('nan')])])
def test_every_kind_of_number_is_understood(value: Any) -> None:
    wrapper = SimpleNamespace(get_lr=lambda: {'lr': [0.1]})
    runner = SimpleNamespace(iter=0, optim_wrapper=wrapper)
    with pytest.raises(NonFiniteLossError, match='finite values: acc=1'):
        NonFiniteLossHook().after_train_iter(runner, 0, {}, {'loss': value, 'acc': 1.0, 'note': 'x'})


def test_the_interval_is_respected_and_checked() -> None:
    runner = SimpleNamespace(iter=0)
    NonFiniteLossHook(interval=2).after_train_iter(runner, 0, {}, {'loss': float('nan')})
    with pytest.raises(ValueError, match='at least 1'):
        NonFiniteLossHook(interval=0)
