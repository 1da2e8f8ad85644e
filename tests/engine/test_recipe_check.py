"""The paper's recipe: groups, schedule, the drift of a 'frozen' text encoder, the batch that the rates belong to."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import LinearLR, PolyLR
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from denseclip.engine.hooks.recipe_check import batch_size_note, drift_note


@HOOKS.register_module()
class FreezeTextHook(Hook):
    """What ``text_encoder=dict(frozen=True)`` does, before the optimizer collects its parameters."""

    def before_run(self, runner: Runner) -> None:
        runner.model.text_encoder.requires_grad_(False)


RECIPE = Path(__file__).parents[2] / 'configs/_base_/schedules/adamw_80k.py'


def rates(base: float, iterations: list[int]) -> dict[int, float]:
    """Learning rates of a group under the shipped schedule."""
    config = Config.fromfile(str(RECIPE))
    warmup, poly = config.param_scheduler
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=base)
    kinds: dict[str, Any] = {'LinearLR': LinearLR, 'PolyLR': PolyLR}
    schedules = [kinds[cfg.pop('type')](optimizer, **cfg) for cfg in (warmup, poly)]
    found = {}
    for iteration in range(max(iterations) + 1):
        if iteration in iterations:
            found[iteration] = optimizer.param_groups[0]['lr']
        for schedule in schedules:
            schedule.step()
    return found


@pytest.mark.filterwarnings('ignore')
def test_the_schedule_is_the_papers() -> None:
    """Spec section 6: lr(i) = [(b-m)(1-i/N)^.9 + m] * [1 - (1-i/1500)(1-1e-6)], to MMEngine's 0.2 %."""
    base, floor, total = 1e-4, 1e-6, 80000
    found = rates(base, [750, 1499, 3000])
    for iteration, rate in found.items():
        poly = (base - floor) * (1 - iteration / total) ** 0.9 + floor
        warmup = 1 - (1 - min(iteration, 1500) / 1500) * (1 - 1e-6)
        assert math.isclose(rate, poly * warmup, rel_tol=3e-3), iteration


@pytest.mark.filterwarnings('ignore')
def test_a_rate_of_zero_does_not_stay_zero() -> None:
    """What RecipeCheckHook warns of: 1.3e-7 at iteration 1499, on the way to 1e-6."""
    assert rates(0.0, [1499])[1499] == pytest.approx(1.3e-7, rel=0.1)


@pytest.mark.parametrize('frozen', [False, True])
def test_freezing_is_what_keeps_the_text_encoder(train_toy, tmp_path: Path, frozen: bool) -> None:
    """With ``lr_mult=0`` alone it moves and a warning says so; with ``requires_grad=False`` it stays bit for bit."""
    overrides = {
        'optim_wrapper.paramwise_cfg': dict(custom_keys={'text_encoder': dict(lr_mult=0.0)}),
        'custom_hooks': [dict(type='FreezeTextHook')] if frozen else [],
        'train_cfg.max_iters': 8,
    }
    runner = train_toy(tmp_path, **overrides)
    start = torch.load(tmp_path / 'iter_5.pth', weights_only=True)['state_dict']
    moved = any(not torch.equal(start[key], value) for key, value in runner.model.state_dict().items() if 'text' in key)
    log = Path(runner.log_dir, f'{runner.timestamp}.log').read_text()
    assert moved is not frozen
    assert ('2 tensors have learning rate 0 (text_encoder.weight ...)' in log) is not frozen


def test_drift_needs_a_floor() -> None:
    """A step schedule, as in detection, leaves a rate of 0 at 0."""
    model = nn.Linear(1, 1)
    groups = [{'params': list(model.parameters()), 'lr': 0.0, 'initial_lr': 0.0}]
    assert drift_note(model, groups, floor=0.0) is None
    assert '2 tensors' in str(drift_note(model, groups, floor=1e-6))
    model.requires_grad_(False)
    assert drift_note(model, groups, floor=1e-6) is None


@pytest.mark.parametrize(
    ('batch', 'world_size', 'accumulate', 'enable', 'expected'),
    [
        (4, 8, 1, False, None),
        (4, 1, 8, False, None),
        (4, 1, 1, False, '--auto-scale-lr to multiply them by 0.125'),
        (8, 8, 1, False, '8 process(es) x 8'),
        (4, 1, 1, True, 'multiplies all learning rates by 0.125'),
        (4, 1, 2, True, 'with it the factor would be 0.25'),
    ],
)
def test_the_effective_batch_is_compared(
    batch: int, world_size: int, accumulate: int, enable: bool, expected: str | None
) -> None:
    config = {
        'auto_scale_lr': {'base_batch_size': 32, 'enable': enable},
        'train_dataloader': {'batch_size': batch},
        'optim_wrapper': {'accumulative_counts': accumulate},
    }
    note = batch_size_note(config, world_size)
    assert note is None if expected is None else expected in str(note)


def test_a_config_without_a_recipe_batch_is_left_alone() -> None:
    assert batch_size_note({'train_dataloader': {'batch_size': 4}}, 1) is None
