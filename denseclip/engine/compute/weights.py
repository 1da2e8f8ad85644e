"""Weights of image encoders in the type that they are computed with."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from denseclip.clip.towers import ImageTower
from denseclip.models.backbones.base import ImageBackbone

_MATRICES = (nn.Linear, nn.MultiheadAttention, _ConvNd)
_FEED_FORWARD = re.compile(r'(^|\.)(mlp|ffn)\.')


def image_encoders(model: nn.Module) -> Iterator[nn.Module]:
    """The parts of a model that look at pictures, outermost first: CLIP's towers, and what it calls its backbone.

    Parts of a module that says ``stays_in_float32`` are none of them.
    """
    kept = (module for module in model.modules() if getattr(module, 'stays_in_float32', False))
    seen = {id(inner) for module in kept for inner in module.modules()}
    for name, module in model.named_modules():
        backbone = name.rpartition('.')[2] == 'backbone' or isinstance(module, ImageTower | ImageBackbone)
        if backbone and id(module) not in seen:
            seen.update(id(inner) for inner in module.modules())
            yield module


def hold_in(model: nn.Module, dtype: torch.dtype) -> None:
    """Round the matrices and filters of image encoders once, instead of in every pass.

    Under autocast that changes no number: they would be rounded there. Norms, positions and scales stay in float32, and
    so do networks that say ``rounds_once``: those round products of filters and norms, in a copy, and keep them.

    Args:
        model: Changed; it computes under autocast to ``dtype`` from now on.
        dtype: ``bfloat16`` or ``float16``.
    """
    later = {
        id(inner) for module in model.modules() if getattr(module, 'rounds_once', False) for inner in module.modules()
    }
    for encoder in image_encoders(model):
        for module in encoder.modules():
            if isinstance(module, _MATRICES) and id(module) not in later:
                for parameter in module.parameters(recurse=False):
                    if parameter.dtype == torch.float32:
                        parameter.requires_grad_(False).data = parameter.data.to(dtype)


def quantize(model: nn.Module) -> None:
    """Let the feed-forward layers of image encoders multiply integers of 8 bits; inputs are scaled as they come.

    Attention, projections, convolutions and norms stay in float32.

    Args:
        model: Changed; it can no longer be trained, and its state dict is no longer a checkpoint of the suite.

    Raises:
        ValueError: If the model has no such layer, or PyTorch no such kernel.
    """
    tools = _quantization_tools()
    count = 0
    for encoder in image_encoders(model):
        names = {
            name: tools.default_dynamic_qconfig
            for name, module in encoder.named_modules()
            if type(module) is nn.Linear and _FEED_FORWARD.search(name)
        }
        count += len(names)
        if names:
            with warnings.catch_warnings():
                warnings.filterwarnings('ignore', category=DeprecationWarning)
                warnings.filterwarnings('ignore', message='.*quantize.*deprecated.*')
                tools.quantize_dynamic(encoder, names, dtype=torch.qint8, inplace=True)
    if not count:
        raise ValueError(
            f"int8-dynamic is for transformers' feed-forward layers, and {type(model).__name__} has none in its image "
            'encoder: use bf16.'
        )


def _quantization_tools() -> Any:
    """``torch.ao.quantization``: old, but with kernels for CPUs that need no compiler, which torchao has not."""
    try:
        import torch.ao.quantization as tools
    except ImportError as error:  # it is announced to leave PyTorch
        raise ValueError(
            f'PyTorch {torch.__version__} has no dynamic quantisation any more: use bf16 instead of int8-dynamic.'
        ) from error
    if torch.backends.quantized.engine == 'none':
        raise ValueError('this build of PyTorch has no integer kernels for this CPU: use bf16 instead of int8-dynamic.')
    return tools
