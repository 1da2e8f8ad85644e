"""open_clip's feed-forward branch, its activation in place where nothing needs what it overwrites."""

from __future__ import annotations

from typing import Any

import torch
from open_clip.transformer import QuickGELU
from torch import Tensor, nn

_PART = 2**16
"""Numbers per thread that OpenAI's activation takes at once: they stay in a core's own cache for its three passes."""


def feed_forward(mlp: nn.Module, x: Tensor) -> Tensor:
    """``mlp(x)``, bit for bit.

    Args:
        mlp: Of one of open_clip's blocks: ``c_fc``, ``gelu``, ``c_proj``. One that is built otherwise, or that hooks
            watch, runs as it is; so does each with gradients, on other devices than a CPU, and in graphs.
        x: Normalised tokens.

    Shape:
        - x and result: :math:`(N, L, C)`
    """
    if torch.is_grad_enabled() or x.device.type != 'cpu' or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return mlp(x)
    watched = mlp._forward_hooks or mlp._forward_pre_hooks
    if watched or [name for name, _ in mlp.named_children()] != ['c_fc', 'gelu', 'c_proj']:
        return mlp(x)
    walked: Any = mlp
    hidden = walked.c_fc(x)
    is_ours = hidden is not x and hidden.is_contiguous()
    return walked.c_proj(_activate_(walked.gelu, hidden) if is_ours else walked.gelu(hidden))


def _activate_(activation: nn.Module, x: Tensor) -> Tensor:
    """The activation, into ``x`` where it is a known one: new pages for large results take longer than the sums."""
    if activation._forward_hooks or activation._forward_pre_hooks:
        return activation(x)
    if type(activation) is nn.GELU:
        return torch.ops.aten.gelu_(x, approximate=activation.approximate)
    if type(activation) is not QuickGELU:
        return activation(x)
    for part in x.view(-1).split(_PART * torch.get_num_threads()):
        part.mul_((1.702 * part).sigmoid_())  # x * sigmoid(1.702 x) in open_clip's order of roundings
    return x
