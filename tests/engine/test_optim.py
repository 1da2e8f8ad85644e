"""Optimizers of mostly frozen models."""

import logging

import pytest
from mmengine.optim import build_optim_wrapper
from torch import nn

import denseclip.engine.optim  # noqa: F401  (registers the constructor)


@pytest.mark.parametrize('constructor', ['TrainableOptimWrapperConstructor', 'DefaultOptimWrapperConstructor'])
def test_same_groups_without_the_noise(constructor: str, caplog: pytest.LogCaptureFixture):
    frozen = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model = nn.ModuleDict({'frozen': frozen, 'first': nn.Linear(2, 2), 'second': nn.Linear(2, 1)})
    model['frozen'].requires_grad_(False)
    config = dict(
        optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.01),
        paramwise_cfg=dict(custom_keys=dict(second=dict(lr_mult=10.0))),
        constructor=constructor,
    )
    logging.getLogger('mmengine').propagate = True
    wrapper = build_optim_wrapper(model, config)
    trained = {p: g['lr'] for g in wrapper.optimizer.param_groups for p in g['params'] if p.requires_grad}
    slow, fast = (dict.fromkeys(model[name].parameters(), rate) for name, rate in (('first', 1e-3), ('second', 1e-2)))
    assert trained == slow | fast
    if constructor.startswith('Trainable'):
        assert 'skipped' not in caplog.text
        assert not any(not p.requires_grad for g in wrapper.optimizer.param_groups for p in g['params'])
