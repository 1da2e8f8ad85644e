"""The paper's recipe: groups, schedule, the drift of a 'frozen' text encoder, the batch that the rates belong to."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import LinearLR, PolyLR, build_optim_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmseg.models import SegDataPreProcessor
from torch import nn

from denseclip.clip.preprocess import PreprocessSpec
from denseclip.engine.hooks.recipe_check import RecipeCheckHook, batch_size_note, drift_note
from denseclip.engine.schedulers import WarmupPolyLR


@HOOKS.register_module()
class FreezeTextHook(Hook):
    """What ``text_encoder=dict(frozen=True)`` does, before the optimizer collects its parameters."""

    def before_run(self, runner: Runner) -> None:
        runner.model.text_encoder.requires_grad_(False)


RECIPE = Path(__file__).parents[2] / 'configs/_base_/schedules/adamw_80k.py'


def rates(base: float, schedules: list[dict[str, Any]], iterations: list[int]) -> dict[int, float]:
    """Learning rates of a parameter group under some schedules."""
    kinds: dict[str, Any] = {'LinearLR': LinearLR, 'PolyLR': PolyLR, 'WarmupPolyLR': WarmupPolyLR}
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=base)
    built = [kinds[cfg['type']](optimizer, **{k: v for k, v in cfg.items() if k != 'type'}) for cfg in schedules]
    optimizer.step()  # torch warns where a schedule steps first
    found = {}
    for iteration in range(max(iterations) + 1):
        if iteration in iterations:
            found[iteration] = optimizer.param_groups[0]['lr']
        for schedule in built:
            schedule.step()
    return found


def paper(base: float, iteration: int) -> float:
    """Spec section 6: lr(i) = [(b-m)(1-i/N)^.9 + m] * [1 - (1-i/1500)(1-1e-6)]."""
    floor, total = 1e-6, 80000
    poly = (base - floor) * (1 - iteration / total) ** 0.9 + floor
    return poly * (1 - (1 - min(iteration, 1500) / 1500) * (1 - 1e-6))


@pytest.mark.parametrize('base', [1e-4, 1e-5, 0.0])
def test_the_shipped_schedule_is_the_papers(base: float) -> None:
    """For the main, the backbone's and the text encoder's group; the last one drifts."""
    shipped = Config.fromfile(str(RECIPE)).param_scheduler
    for iteration, rate in rates(base, shipped, [0, 1, 750, 1499, 1500, 3000]).items():
        assert math.isclose(rate, paper(base, iteration), rel_tol=1e-9, abs_tol=1e-20), iteration


def test_mmengines_own_pair_of_schedules_drifts_more() -> None:
    """LinearLR followed by PolyLR: main groups agree to 0.2 %, groups of rate 0 rise eight times faster."""
    pair = [
        dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
        dict(type='PolyLR', power=0.9, eta_min=1e-6, by_epoch=False, begin=0, end=80000),
    ]
    assert rates(1e-4, pair, [1499])[1499] == pytest.approx(paper(1e-4, 1499), rel=3e-3)
    assert rates(0.0, pair, [1499])[1499] == pytest.approx(1.3e-7, rel=0.05)
    assert paper(0.0, 1499) == pytest.approx(1.7e-8, rel=0.05)


def test_the_groups_of_the_recipe() -> None:
    """Longest key first: text encoder at 0, backbone at a tenth, ``norm`` without decay, the rest plain."""
    model = nn.ModuleDict(
        {
            'backbone': nn.ModuleDict({'norm1': nn.LayerNorm(2)}),
            'text_encoder': nn.Linear(2, 2),
            'context_decoder': nn.ModuleDict({'norm1': nn.LayerNorm(2), 'fc': nn.Linear(2, 2)}),
        }
    )
    wrapper = build_optim_wrapper(model, Config.fromfile(str(RECIPE)).optim_wrapper)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {names[id(g['params'][0])]: (g['lr'], g['weight_decay']) for g in wrapper.optimizer.param_groups}
    assert found['text_encoder.weight'] == (0.0, 1e-4)
    assert found['backbone.norm1.weight'] == (pytest.approx(1e-5), 1e-4)  # the backbone's norms keep their decay
    assert found['context_decoder.norm1.weight'] == (1e-4, 0.0)
    assert found['context_decoder.fc.weight'] == (1e-4, 1e-4)


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
        (4, 1, 8, True, 'multiplies all learning rates by 0.125; accumulation is not counted'),
        (4, 8, 1, True, None),
        (4, 1, 2, False, 'Multiply them by 0.25 (--auto-scale-lr would take 0.125'),
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


class Host(nn.Module):
    """A segmentor of the host around one of our backbones."""

    __module__ = 'mmseg.models'

    def __init__(self, **normalisation: Any) -> None:
        super().__init__()
        self.data_preprocessor = SegDataPreProcessor(**normalisation)
        self.backbone = nn.Identity()
        self.backbone.preprocess = PreprocessSpec()


def test_a_host_that_normalises_otherwise_than_its_clip_backbone_is_told() -> None:
    right = PreprocessSpec().as_255()
    check = RecipeCheckHook().before_test
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        check(SimpleNamespace(model=Host(**right)))
        check(SimpleNamespace(model=Host()))
    with pytest.warns(UserWarning, match='Host: the data preprocessor normalises with mean'):
        check(SimpleNamespace(model=Host(mean=[0.0] * 3, std=[1.0] * 3)))
