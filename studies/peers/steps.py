"""What rows of training steps have in common: the truth, the gradients, and chance, shared or left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

SEGMENTS = 20


def ellipses(size: Sequence[int]) -> Tensor:
    """Segments of a training step, bool (SEGMENTS, H, W)."""
    generator = torch.Generator('cpu').manual_seed(2)
    centre, radius = torch.rand(2, SEGMENTS, 2, 1, generator=generator)
    lines = [
        (torch.linspace(0, 1, side) - centre[:, axis]) / (0.1 + 0.3 * radius[:, axis]) for axis, side in enumerate(size)
    ]
    return lines[0][:, :, None] ** 2 + lines[1][:, None] ** 2 < 1


def segment_labels(count: int) -> Tensor:
    """Their classes."""
    return torch.arange(SEGMENTS) * 3 % count


def label_map(size: Sequence[int], count: int) -> Tensor:
    """The same segments as labels (H, W), the first of them on top; without one a place is void, 255."""
    masks, labels = ellipses(size), segment_labels(count)
    found = torch.full(tuple(size), 255)
    for mask, label in zip(masks.flip(0), labels.flip(0), strict=True):
        found[mask] = label
    return found


def gradients_as_values(losses: Mapping[str, Tensor], model: nn.Module) -> Tensor:
    """Of a training step: the sum of the losses, after its gradients were computed.

    Args:
        losses: By name; what is called no loss, such as an accuracy, is left out.
        model: Whose gradients they are; dropped again.
    """
    total = torch.stack([value.sum() for key, value in losses.items() if 'loss' in key]).sum()
    total.backward()
    model.zero_grad(set_to_none=True)
    return total.detach()[None]


def trains(request: Mapping[str, Any]) -> bool:
    """Whether a row is a training step."""
    return request['family'].endswith('step')


def draw_alike(criterion: nn.Module) -> None:
    """Both sides draw the points of a step in the same order; here they begin at the same number."""

    def begin(*_: Any) -> None:
        torch.manual_seed(0)

    criterion.register_forward_pre_hook(begin)


def without_chance(model: nn.Module) -> nn.Module:
    """No dropout and no dropped branches: both sides would draw other ones.

    Dropout inside of PyTorch's attention is a number of the module.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
        elif hasattr(module, 'drop_prob'):
            vars(module)['drop_prob'] = 0.0
    return model
