"""1 x 1 convolutions as matrix products, in every layout."""

import pytest
import torch
from torch import nn

from denseclip.models.functional.pointwise import pointwise


@pytest.mark.parametrize('layout', ['contiguous', 'channels_last', 'view'])
@pytest.mark.parametrize('bias', [True, False])
def test_equals_the_convolution(layout, bias):
    conv = nn.Conv2d(6, 5, 1, bias=bias)
    x = torch.randn(2, 6, 7, 9)
    if layout == 'channels_last':
        x = x.to(memory_format=torch.channels_last)
    if layout == 'view':
        x = torch.randn(2, 70, 6).transpose(1, 2)[:, :, 7:].unflatten(2, (7, 9))
    x.requires_grad_()
    ours, theirs = pointwise(conv, x), conv(x)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    wanted = [x, *conv.parameters()]
    for one, other in zip(*(torch.autograd.grad(y.square().sum(), wanted) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    if layout == 'channels_last':
        assert ours.is_contiguous(memory_format=torch.channels_last)
