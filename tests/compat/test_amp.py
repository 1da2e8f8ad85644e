"""Mixed precision on the CPU."""

from functools import partial

import pytest
import torch
from mmengine.registry import OPTIM_WRAPPERS

from denseclip.compat import amp


def _wrapper(model, **kwargs):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return OPTIM_WRAPPERS.build({'type': 'CPUAmpOptimWrapper', 'optimizer': optimizer, **kwargs})


def test_forward_is_bfloat16_and_weights_stay_float32():
    model = torch.nn.Linear(4, 2)
    before = model.weight.detach().clone()
    wrapper = _wrapper(model, clip_grad={'max_norm': 1.0})
    with wrapper.optim_context(model):
        output = model(torch.ones(3, 4))
    assert output.dtype == torch.bfloat16
    wrapper.update_params(output.float().square().mean())
    assert model.weight.dtype == torch.float32
    assert not torch.equal(model.weight, before)
    assert model(torch.ones(3, 4)).dtype == torch.float32


def test_accumulation():
    model = torch.nn.Linear(4, 2)
    before = model.weight.detach().clone()
    wrapper = _wrapper(model, accumulative_counts=2)
    for step in range(2):
        assert torch.equal(model.weight, before)
        with wrapper.optim_context(model):
            loss = model(torch.ones(3, 4) + step).float().sum()
        wrapper.update_params(loss)
    assert not torch.equal(model.weight, before)


def test_other_types_are_refused():
    with pytest.raises(ValueError, match='bfloat16 only'):
        amp.CPUAmpOptimWrapper(dtype='float16', optimizer=None)


@pytest.mark.parametrize('current', ['OptimWrapper', 'AmpOptimWrapper', 'CPUAmpOptimWrapper', None])
@pytest.mark.parametrize(('accelerator', 'expected'), [(True, 'AmpOptimWrapper'), (False, 'CPUAmpOptimWrapper')])
def test_enable_amp_fits_the_machine(monkeypatch, current, accelerator, expected):
    monkeypatch.setattr(amp, 'has_accelerator', lambda: accelerator)
    config = {'type': current, 'clip_grad': {'max_norm': 1}} if current else {'clip_grad': {'max_norm': 1}}
    if current == 'AmpOptimWrapper':
        config.update(loss_scale=512.0, dtype='float16')
    amp.enable_amp(config)
    assert config['type'] == expected
    assert config['clip_grad'] == {'max_norm': 1}
    if accelerator:
        assert config['loss_scale'] == (512.0 if current == 'AmpOptimWrapper' else 'dynamic')
    else:
        assert not {'loss_scale', 'dtype'} & set(config)


def gpu_wrapper(monkeypatch, config, dtype=None):
    """MMEngine's wrapper for GPUs as a config makes it; it computes nothing here."""
    from mmengine.optim.optimizer import amp_optimizer_wrapper as theirs

    monkeypatch.setattr(amp, 'has_accelerator', lambda: True)
    monkeypatch.setattr(theirs, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(theirs, 'GradScaler', partial(torch.amp.GradScaler, 'cpu'))
    amp.enable_amp(config, dtype)
    return OPTIM_WRAPPERS.build({**config, 'optimizer': torch.optim.SGD(torch.nn.Linear(4, 2).parameters(), lr=0.1)})


@pytest.mark.parametrize(
    ('config', 'dtype', 'scaled'),
    [
        ({}, torch.bfloat16, False),
        ({'type': 'AmpOptimWrapper'}, torch.bfloat16, False),  # as FC-CLIP, MAFT+ and SPAR have it
        ({'type': 'AmpOptimWrapper', 'loss_scale': 512.0}, torch.bfloat16, False),
        ({'type': 'AmpOptimWrapper', 'dtype': 'bfloat16'}, None, False),
        ({'type': 'AmpOptimWrapper', 'dtype': torch.bfloat16}, None, False),
        ({'type': 'AmpOptimWrapper', 'dtype': 'bfloat16', 'loss_scale': {'enabled': False}}, torch.float16, True),
        ({'type': 'AmpOptimWrapper', 'loss_scale': 512.0}, torch.float16, True),
        ({'type': 'AmpOptimWrapper'}, None, True),
        ({}, torch.float16, True),
    ],
)
def test_bfloat16_has_no_loss_scale(monkeypatch, config, dtype, scaled):
    had = config.get('loss_scale')
    wrapper = gpu_wrapper(monkeypatch, dict(config), dtype)
    assert wrapper.loss_scaler.is_enabled() is scaled
    assert wrapper.loss_scaler.get_scale() == (1.0 if not scaled else had if isinstance(had, float) else 65536.0)


def test_states_with_the_scale_of_one_are_read(monkeypatch):
    """What bfloat16 runs wrote when they still had a scale."""
    wrapper = gpu_wrapper(monkeypatch, {}, torch.bfloat16)
    scale = dict(scale=1.0, growth_factor=2.0, backoff_factor=0.5, growth_interval=2000, _growth_tracker=3)
    wrapper.load_state_dict({**wrapper.state_dict(), 'loss_scaler': scale})
    assert wrapper.state_dict()['loss_scaler'] == {}


def test_enable_amp_leaves_unknown_wrappers_alone():
    with pytest.raises(ValueError, match="'MyWrapper'"):
        amp.enable_amp({'type': 'MyWrapper'})


@pytest.mark.parametrize(
    ('cpuinfo', 'lacks'),
    [
        ('flags\t\t: fpu avx2 avx512f\nflags\t\t: fpu avx2 avx512f\n', True),
        ('flags\t\t: fpu avx512f avx512_bf16\n', False),
        ('flags\t\t: fpu amx_bf16 amx_tile\n', False),
        ('Features\t: fp asimd i8mm bf16\n', False),
        ('Features\t: fp asimd\n', True),
        ('', False),
        (None, False),
    ],
)
def test_bfloat16_units_are_told_by_the_flags(tmp_path, monkeypatch, cpuinfo, lacks):
    monkeypatch.setattr(amp, 'has_accelerator', lambda: False)
    if cpuinfo is not None:
        (tmp_path / 'cpuinfo').write_text(cpuinfo)
    assert amp.lacks_bfloat16_units(tmp_path / 'cpuinfo') is lacks
    monkeypatch.setattr(amp, 'has_accelerator', lambda: True)
    assert amp.lacks_bfloat16_units(tmp_path / 'cpuinfo') is False
