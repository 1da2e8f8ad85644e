"""Floating-point operations of a step, text and image apart."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from .patching import wrapped


@dataclass(frozen=True)
class Flops:
    """Operations of one step; a multiplication and an addition are two.

    Attributes:
        text: Spent in the text branch; of a training step, on its way forward.
        image: Everything else.
    """

    text: int
    image: int

    @property
    def total(self) -> int:
        """Both."""
        return self.text + self.image


def count_flops(run: Callable[[], Any], text_branch: Any = None, method: str = 'forward') -> Flops:
    """Count matrix products, convolutions and attention while ``run`` runs.

    Resizing, normalisation and pointwise functions are not counted, as is usual.

    Args:
        run: The step.
        text_branch: Object whose method is the text branch; None if there is none.
        method: That method.
    """
    inside: list[FlopCounterMode] = []

    def counted(forward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(forward)
        def call(*args: Any, **kwargs: Any) -> Any:
            inside.append(_counter())
            with inside[-1]:
                return forward(*args, **kwargs)

        return call

    with _no_fused_attention(), _counter() as outside, wrapped(text_branch, method, counted):
        run()
    text = sum(counter.get_total_flops() for counter in inside)
    return Flops(text, outside.get_total_flops() - text)


def _counter() -> FlopCounterMode:
    return FlopCounterMode(display=False, custom_mapping=_cpu_operators())


def _cpu_operators() -> dict[Any, Any]:
    """Counts for the CPU's fused attention and packed convolutions, which PyTorch's counter does not know."""
    forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    found: dict[Any, Any] = {forward: _attention, backward: _attention_backward}
    if hasattr(torch.ops.mkldnn, '_convolution_pointwise'):
        found[torch.ops.mkldnn._convolution_pointwise] = _packed_convolution
    return found


def _packed_convolution(maps: Any, weight: Any, *args: Any, out_shape: Any, **kwargs: Any) -> int:
    return 2 * math.prod(weight) * out_shape[0] * math.prod(out_shape[2:])


def _attention(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> int:
    return sdpa_backward_flop_count(grad, query, key, value)


@contextmanager
def _no_fused_attention() -> Iterator[None]:
    """Turn off ``nn.MultiheadAttention``'s fused inference kernel, whose inside the counter cannot see."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
