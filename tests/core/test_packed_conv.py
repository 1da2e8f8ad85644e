"""Packed convolutions are PyTorch's, with the activation behind them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from denseclip.core.packed_conv import PackedConv, can_pack
from denseclip.engine.benchmark.flops import _counter


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


def conv(groups=1, kernel=3, stride=(1, 1), bias=True, activation=None):
    torch.manual_seed(kernel + groups)
    weight = torch.randn(24, 24 // groups, kernel, kernel) * 0.3
    return PackedConv(weight, torch.randn(24) if bias else None, stride, groups, activation or nn.Identity())


def plain(own, x, padding):
    return own.activation(F.conv2d(x, own.weight, own.bias, own.stride, padding, groups=own.groups).clone())


@pytest.mark.parametrize('groups', [1, 24])
@pytest.mark.parametrize(('kernel', 'stride'), [(1, (1, 1)), (3, (1, 1)), (3, (2, 2)), (5, (2, 1))])
@pytest.mark.parametrize('activation', [nn.Identity(), nn.ReLU(), nn.ReLU6(inplace=True)])
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_equals_a_convolution(groups, kernel, stride, activation, layout):
    own, padding = conv(groups, kernel, stride, activation=activation), (kernel // 2, kernel // 2)
    for size in ((2, 24, 17, 22), (1, 24, 40, 9), (2, 24, 17, 22)):  # packed for the first, right for all
        x = torch.randn(size).contiguous(memory_format=layout)
        torch.testing.assert_close(own(x, padding), plain(own, x, padding), rtol=1e-4, atol=1e-4)


def test_padding_that_is_too_much_before():
    own, x = conv(), torch.randn(1, 24, 8, 9)
    found = own(x, (1, 1), (1, 0))
    wanted = F.conv2d(F.pad(x, (1, 1, 0, 1)), own.weight, own.bias)
    torch.testing.assert_close(found[:, :, : wanted.shape[2]], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('bias', [True, False])
def test_computes_as_autocast_says(bias):
    own, x = conv(bias=bias), torch.randn(1, 24, 12, 12)
    with torch.autocast('cpu', torch.bfloat16):
        found, wanted = own(x, (1, 1)), plain(own, x, (1, 1))
    assert found.dtype == wanted.dtype == torch.bfloat16
    torch.testing.assert_close(found, wanted, rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(own(x, (1, 1)), plain(own, x, (1, 1)), rtol=1e-4, atol=1e-4)  # and float32 afterwards


def test_a_bias_is_added_before_anything_is_rounded():
    own = PackedConv(torch.ones(16, 16, 1, 1) / 16, torch.full((16,), 257.0), (1, 1), 1, nn.Identity())
    with torch.autocast('cpu', torch.bfloat16):
        found = own(torch.full((1, 16, 4, 4), -256.0), (0, 0))
    assert torch.equal(found.float(), torch.ones(1, 16, 4, 4))  # 257 is no bfloat16


def test_other_types_and_recorded_graphs_take_pytorchs_way(monkeypatch):
    own, x = conv(activation=nn.ReLU6()), torch.randn(1, 24, 6, 6)
    own.double()
    torch.testing.assert_close(own(x.double(), (1, 1)), plain(own, x.double(), (1, 1)))
    own.float()
    monkeypatch.setattr(torch.jit, 'is_tracing', lambda: True)
    monkeypatch.setattr(own, '_pack', None)
    assert torch.equal(own(x, (1, 1)), plain(own, x, (1, 1)))


def test_what_can_be_packed():
    assert can_pack(nn.ReLU6()) == can_pack(nn.Identity()) == torch.backends.mkldnn.is_available()
    assert not can_pack(nn.SiLU())


@pytest.mark.parametrize('groups', [1, 24])
def test_operations_are_counted(groups):
    own, x = conv(groups), torch.randn(2, 24, 10, 10)
    with _counter() as found:
        own(x, (1, 1))
    with FlopCounterMode(display=False) as wanted:
        plain(own, x, (1, 1))
    assert found.get_total_flops() == wanted.get_total_flops() > 0
