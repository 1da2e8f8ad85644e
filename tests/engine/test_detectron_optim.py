"""Parameter groups of detectron2's mask models."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.optim import build_optim_wrapper
from torch import nn


class Model(nn.Module):
    """One parameter of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.ModuleDict({'conv': nn.Conv2d(3, 2, 1), 'norm': nn.BatchNorm2d(2)})
        self.backbone['pyramid'] = nn.ModuleList([nn.Conv2d(2, 2, 1, bias=False)])  # new, beside a trunk with weights
        self.backbone.relative_position_bias_table = nn.Parameter(torch.zeros(3))
        self.head = nn.ModuleDict({'lin': nn.Linear(2, 2), 'norm': nn.LayerNorm(2), 'queries': nn.Embedding(2, 2)})
        self.shared = self.head['lin']
        self.bare = nn.Parameter(torch.zeros(1))
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def settings(model: nn.Module, **paramwise) -> dict[str, tuple[float, float]]:
    config = ConfigDict(
        type='OptimWrapper',
        constructor='DetectronOptimWrapperConstructor',
        optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.5),
        paramwise_cfg=paramwise or None,
    )
    groups = build_optim_wrapper(model, config).optimizer.param_groups
    places = [id(p) for group in groups for p in group['params']]
    assert len(places) == len(set(places))
    assert len({(g['lr'], g['weight_decay']) for g in groups}) == len(groups)
    found = {id(p): (g['lr'], g['weight_decay']) for g in groups for p in g['params']}
    return {name: found[id(p)] for name, p in model.named_parameters() if id(p) in found}


def test_rates_and_decays() -> None:
    found = settings(Model(), backbone_lr_mult=0.25)
    assert found == {
        'backbone.relative_position_bias_table': (0.25, 0.0),
        'backbone.conv.weight': (0.25, 0.5),
        'backbone.conv.bias': (0.25, 0.5),
        'backbone.norm.weight': (0.25, 0.0),
        'backbone.norm.bias': (0.25, 0.0),
        'backbone.pyramid.0.weight': (1.0, 0.5),
        'head.lin.weight': (1.0, 0.5),
        'head.lin.bias': (1.0, 0.5),
        'head.norm.weight': (1.0, 0.0),
        'head.norm.bias': (1.0, 0.0),
        'head.queries.weight': (1.0, 0.0),
        'bare': (1.0, 0.5),
    }


def test_rules_hold_without_settings_and_can_be_changed() -> None:
    assert settings(Model())['backbone.norm.weight'] == (1.0, 0.0)
    found = settings(Model(), norm_decay_mult=1.0, embed_decay_mult=0.5)
    assert found['head.norm.weight'] == (1.0, 0.5) and found['head.queries.weight'] == (1.0, 0.25)


def test_unknown_settings_are_named() -> None:
    with pytest.raises(TypeError, match='custom_keys'):
        settings(Model(), custom_keys={})


def test_weight_decay_must_be_said() -> None:
    config = dict(constructor='DetectronOptimWrapperConstructor', optimizer=dict(type='AdamW', lr=1.0))
    with pytest.raises(ValueError, match='weight_decay'):
        build_optim_wrapper(Model(), ConfigDict(config))
