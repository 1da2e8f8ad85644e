"""Checks of the released checkpoints' layout and of the training recipe, against the models that the configs build."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from denseclip.models.builder import build_module
from denseclip.weights.convert import convert
from denseclip.weights.convert.maft import is_panoptic

from .fixtures import Fixture
from .registry import consumes

CONFIGS = Path(__file__).parents[3] / 'configs' / '_base_'
TRUNKS = {640: 'convnext-b', 768: 'convnext-l'}
"""Base config of the trunk by the size of its joint space."""


@functools.cache
def meta_model(trunk: str) -> Any:
    """A full-size semantic model without values."""
    config = Config.fromfile(CONFIGS / 'models' / f'maft-plus_{trunk}.py').model
    with torch.device('meta'):
        return build_module(config).train()


def parameters(entry: dict[str, Any]) -> dict[str, list[int]]:
    """Names and shapes that a released file has."""
    return {name: list(shape) for name, shape in entry['keys'].items()}


@consumes('maft_pmp', 'checkpoint_layout')
def check_layout(fixture: Fixture) -> None:
    files = fixture.manifest
    shapes = {name: parameters(entry) for name, entry in files.items() if isinstance(entry['keys'], dict)}
    for name, entry in files.items():
        same_names = shapes.get(name, shapes.get(name.removesuffix('_pano')))
        assert same_names is not None and len(same_names) == entry['n_keys']
        theirs = {key: torch.empty(shape, device='meta') for key, shape in same_names.items()}
        classes = entry['num_classes'] + 1
        theirs['criterion.empty_weight'] = torch.empty(classes, device='meta')
        assert is_panoptic(theirs) is entry['panoptic_on']
        dim, heads = entry['cdt_params']
        model = meta_model(TRUNKS[dim])
        ours = model.state_dict()
        if entry['panoptic_on']:  # the norm is the only difference, in its name
            ours = {k.replace('transfer.norm.', 'transfer.update_norm.'): v for k, v in ours.items()}
        assert model.transfer.attention.num_heads == heads and model.head.num_queries == entry['num_queries']
        assert {k: v.shape for k, v in convert(theirs, 'maft').items()} == {k: v.shape for k, v in ours.items()}
        back = convert(ours, 'maft', inverse=True, num_classes=entry['num_classes'])
        assert {k: v.shape for k, v in back.items()} == {
            k: v.shape for k, v in theirs.items() if not k.startswith('backbone_t.')
        }
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        teacher = sum(v.numel() for k, v in theirs.items() if k.startswith('backbone_t.'))
        assert trainable == entry['params_trainable']
        assert sum(p.numel() for p in model.parameters()) + teacher == entry['params_total']


def their_names(model: nn.Module) -> dict[int, str]:
    """The authors' name of each parameter, by its identity."""
    mine = dict(model.named_parameters())
    marks = {name: torch.tensor(float(i)) for i, name in enumerate(mine)}
    order = list(mine.values())
    return {id(order[int(value)]): name for name, value in convert(marks, 'maft', inverse=True).items()}


@consumes('maft_pmp', 'training_recipe')
def check_recipe(fixture: Fixture) -> None:
    recipe = fixture.manifest
    config = Config.fromfile(CONFIGS / 'schedules' / 'maft-plus_55k.py')
    wrapper_config, solver = config.optim_wrapper, recipe['solver']
    assert wrapper_config.type == 'AmpOptimWrapper' and solver['AMP']
    assert config.auto_scale_lr.base_batch_size == solver['IMS_PER_BATCH']
    assert recipe['optimizer']['clip'].endswith(str(wrapper_config.clip_grad.max_norm))
    wrapper_config.type = 'OptimWrapper'
    model = meta_model('convnext-l')
    wrapper = build_optim_wrapper(model, wrapper_config)
    names = their_names(model)
    groups = {
        f'lr={g["lr"]:.0e} wd={g["weight_decay"]:.0e}'.replace('wd=0e+00', 'wd=0').replace('1e-04', '0.0001'): {
            names[id(p)] for p in g['params']
        }
        for g in wrapper.optimizer.param_groups
    }
    assert {k: len(v) for k, v in groups.items()} == recipe['optimizer']['counts']
    assert groups == {k: set(v) for k, v in recipe['optimizer']['groups'].items()}
    assert list(wrapper.optimizer.defaults['betas']) == recipe['optimizer']['betas']
    assert wrapper.optimizer.defaults['eps'] == recipe['optimizer']['eps']
    check_rates(config, recipe['lr_schedule'])
    check_input(recipe['input'])
    dropping = [m for m in model.backbone.modules() if type(m).__name__ == 'DropPath' and m.drop_prob > 0]
    assert len(dropping) == recipe['drop_path_modules']['student']


def check_rates(config: Config, wanted: dict[str, Any]) -> None:
    """Learning rates at some iterations."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=wanted['lr'][0])
    schedule = PARAM_SCHEDULERS.build({**config.param_scheduler[0], 'optimizer': optimizer})
    assert config.train_cfg.max_iters == wanted['max_iter']
    assert config.param_scheduler[0].power == wanted['power'] and not wanted['warmup_iters']
    for iteration, rate in zip(wanted['iters'], wanted['lr'], strict=True):
        schedule.last_step = iteration
        assert abs(schedule._get_value()[0] - rate) <= 1e-6 * rate + 1e-12


def check_input(wanted: dict[str, Any]) -> None:
    """Sizes of pictures in training and tests."""
    data = Config.fromfile(CONFIGS / 'datasets' / 'cocostuff_1333x800.py')
    resize = next(step for step in data.train_pipeline if step.type == 'PillowResizeShortSide')
    assert [resize.short_side] == wanted['MIN_SIZE_TRAIN'] and resize.max_long_side == wanted['MAX_SIZE_TRAIN']
    assert ('RandomCrop' in [step.type for step in data.train_pipeline]) is wanted['CROP']
    flip = next(step for step in data.train_pipeline if step.type == 'RandomFlip')
    assert flip.prob == 0.5 and wanted['RANDOM_FLIP'] == 'horizontal'
    test = Config.fromfile(CONFIGS / 'datasets' / 'ade20k_1333x800.py')
    resize = next(step for step in test.test_pipeline if step.type == 'PillowResizeShortSide')
    assert (resize.short_side, resize.max_long_side) == (wanted['MIN_SIZE_TEST'], wanted['MAX_SIZE_TEST'])
