"""Depthwise convolutions with another backward pass are PyTorch's, gradients included."""

import copy

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from denseclip.core.depthwise import DepthwiseConv2d, use_own_depthwise

CASES = [
    (nn.Conv2d, 5, 1, 2),
    (nn.Conv2d, 7, 1, 3),
    (nn.Conv2d, (3, 5), 2, (1, 2)),
    (Conv2dSame, 5, 2, 0),
    (Conv2dSame, 3, 2, 0),
]


def convolution(kind, kernel, stride, padding, bias=True):
    torch.manual_seed(0)
    return kind(16, 16, kernel, stride, padding, groups=16, bias=bias)


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('size', [(12, 14), (9, 7), (8, 11), (2, 1), (1, 2)])
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_equals_the_convolution_that_it_replaces(case, size, layout):
    plain = convolution(*case)
    own = DepthwiseConv2d.like(plain)
    x = torch.randn(2, 16, *size).contiguous(memory_format=layout).requires_grad_()
    expected, found = plain(x), own(x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    probe = torch.randn_like(expected)
    mine, theirs = (torch.autograd.grad(y, [x, plain.weight, plain.bias], probe) for y in (found, expected))
    for one, other in zip(mine, theirs, strict=True):
        assert float((one - other).abs().max()) <= 1e-5 * max(float(other.abs().max()), 1.0)


def test_only_what_needs_a_gradient_gets_one():
    own = DepthwiseConv2d.like(convolution(*CASES[0], bias=False))
    own(torch.randn(1, 16, 6, 6)).sum().backward()
    assert own.weight.grad.abs().sum() > 0 and own.bias is None
    x = torch.randn(1, 16, 6, 6, requires_grad=True)
    own.weight.requires_grad_(False)
    own(x).sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize('case', [CASES[0], CASES[3]])
def test_other_types_and_prediction_go_pytorchs_way(case):
    plain = convolution(*case)
    own, x = DepthwiseConv2d.like(plain), torch.randn(1, 16, 7, 8)
    with torch.no_grad():
        torch.testing.assert_close(own(x), plain(x), rtol=1e-5, atol=1e-5)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(own(x), plain(x)) and own(x).dtype == torch.bfloat16
    assert torch.equal(own.double()(x.double()), plain.double()(x.double()))


def test_a_network_keeps_its_names_and_weights():
    network = nn.Sequential(nn.Conv2d(3, 16, 5), convolution(*CASES[0]), convolution(nn.Conv2d, 3, 1, 1), nn.ReLU())
    before, x = copy.deepcopy(network), torch.randn(1, 3, 12, 12)
    use_own_depthwise(network)
    assert [type(module) for module in network] == [nn.Conv2d, DepthwiseConv2d, nn.Conv2d, nn.ReLU]
    assert network.state_dict().keys() == before.state_dict().keys()
    torch.testing.assert_close(network(x), before(x))
    torch.testing.assert_close(copy.deepcopy(network)(x), before(x))


@pytest.mark.parametrize('options', [dict(dilation=2), dict(padding_mode='reflect'), dict(padding='same')])
def test_what_is_no_plain_depthwise_convolution_is_left_alone(options):
    assert DepthwiseConv2d.like(nn.Conv2d(4, 4, 5, groups=4, **{'padding': 2, **options})) is None
    assert DepthwiseConv2d.like(nn.Conv2d(4, 8, 5, groups=4)) is None
