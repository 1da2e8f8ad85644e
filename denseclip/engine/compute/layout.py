"""Memory layout of convolutions.

Measured on a Xeon with AMX (``docs/precision.md``): with pixels' channels side by side CLIP's RN50 takes a third of the
time in bf16 and 0.93 of it in fp32, an FPN 0.45 and 0.88, a ConvNeXt-B 0.98 and 0.97; the pixel decoder of FC-CLIP,
which always computes in float32, takes 1.05 to 1.12 times as long.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def set_layout(model: nn.Module, layout: str, low_precision: bool) -> None:
    """Store the filters of convolutions row by row or channels last; a picture follows the first filter it meets.

    Results are the same up to the order of sums.

    Args:
        model: Changed.
        layout: ``'contiguous'`` or ``'channels_last'`` for all of them; ``'auto'``: channels last in low precision
            where it wins, otherwise as the model was built, so that no number changes.
        low_precision: Whether the model computes in 16 bits.
    """
    if layout == 'auto' and not low_precision:
        return
    slower = {id(m) for d in model.modules() if getattr(d, 'prefers_contiguous', False) for m in d.modules()}
    last = layout != 'contiguous'
    module: Any
    for module in model.modules():
        if layout == 'auto' and id(module) in slower:
            continue
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            wanted = torch.channels_last if last else torch.contiguous_format
            module.weight.data = module.weight.data.contiguous(memory_format=wanted)
        if hasattr(module, 'channels_last'):
            module.channels_last = last
