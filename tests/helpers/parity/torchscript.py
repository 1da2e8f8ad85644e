"""TorchScript archives like OpenAI's, with given tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn


class _Node(nn.Module):
    """A module that only holds tensors."""


class _Root(_Node):
    def forward(self, x: Tensor) -> Tensor:
        return x


def write_torchscript(state: Mapping[str, Tensor], path: str | Path, half: bool = True) -> str:
    """Save tensors as parameters and buffers of a scripted module.

    Args:
        state: Name to tensor.
        path: Target file.
        half: Store floating-point tensors in half precision, as OpenAI does.

    Returns:
        The path.
    """
    root = _Root()
    for key, value in state.items():
        *folders, leaf = key.split('.')
        node: nn.Module = root
        for folder in folders:
            if folder not in node._modules:
                node.add_module(folder, _Node())
            node = node.get_submodule(folder)
        value = value.half() if half and value.is_floating_point() else value.clone()
        if value.is_floating_point() and not leaf.startswith('running_'):
            node.register_parameter(leaf, nn.Parameter(value))
        else:
            node.register_buffer(leaf, value)
    torch.jit.save(torch.jit.script(root), str(path))
    return str(path)
