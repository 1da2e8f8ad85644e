"""Tensors without numbers are known as such."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from denseclip.core.values import has_values


def test_numbers_are_there_or_not():
    assert has_values(torch.zeros(2)) and has_values(torch.nn.Parameter(torch.zeros(2)))
    assert not has_values(torch.zeros(2, device='meta'))
    with FakeTensorMode():
        assert not has_values(torch.zeros(2)) and not has_values(torch.nn.Parameter(torch.zeros(2)))
