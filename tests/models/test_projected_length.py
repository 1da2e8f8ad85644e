"""Lengths of projected pixels without the projection."""

import torch

from denseclip.models.functional.projected_length import squared_lengths


def test_equals_the_length_of_the_projection_with_its_gradients():
    torch.manual_seed(0)
    leaves = [torch.randn(3, 6, 11), torch.randn(40, 6), torch.randn(40)]
    leaves = [leaf.double().requires_grad_() for leaf in leaves]
    pixels, weight, bias = leaves
    expected = (weight @ pixels + bias[:, None]).square().sum(dim=1)
    found = squared_lengths(*leaves)
    torch.testing.assert_close(found, expected)
    probe = torch.randn_like(expected)
    for mine, other in zip(*(torch.autograd.grad(y, leaves, probe) for y in (found, expected)), strict=True):
        torch.testing.assert_close(mine, other)
    assert torch.autograd.gradcheck(squared_lengths, leaves)


def test_shapes_alone_are_enough():
    pixels = torch.empty(2, 6, 5, device='meta', requires_grad=True)
    found = squared_lengths(pixels, torch.empty(40, 6, device='meta'), torch.empty(40, device='meta'))
    assert found.shape == (2, 5)
