"""Names of the backbones in OVSeg's files (Swin's own and detectron2's) and in ours (MMSeg's), both ways."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import WeightMismatchError
from .registry import State

Rename = Callable[[str, Tensor], tuple[str, Tensor] | None]

_SWIN_BLOCK = {
    'attn.relative_position_bias_table': 'attn.w_msa.relative_position_bias_table',
    'attn.relative_position_index': 'attn.w_msa.relative_position_index',
    'attn.qkv.': 'attn.w_msa.qkv.',
    'attn.proj.': 'attn.w_msa.proj.',
    'mlp.fc1.': 'ffn.layers.0.0.',
    'mlp.fc2.': 'ffn.layers.1.',
    'norm1.': 'norm1.',
    'norm2.': 'norm2.',
}
_TABLE, _INDEX = 'relative_position_bias_table', 'relative_position_index'
_MERGED = [0, 2, 1, 3]
"""Order of the four pixels of a merged patch in MMSeg's unfold, in terms of Swin's slices; its own inverse."""


def merge_order(value: Tensor, *, inverse: bool = False) -> Tensor:
    """Last axis of a patch merging's weight: Swin's pixels of channels to MMSeg's channels of pixels, or back.

    Shape:
        - value and result: :math:`(..., 4 C)`
    """
    if inverse:
        return value.unflatten(-1, (-1, 4)).transpose(-1, -2)[..., _MERGED, :].flatten(-2)
    return value.unflatten(-1, (4, -1))[..., _MERGED, :].transpose(-1, -2).flatten(-2)


def relative_positions(rows: int) -> Tensor:
    """Row of the bias table for each pair of pixels of a window, which some files leave out.

    Args:
        rows: Of the table, ``(2 * window - 1) ** 2``.

    Shape:
        - result: :math:`(w^2, w^2)`, int64
    """
    span = math.isqrt(rows)
    window = (span + 1) // 2
    y, x = (torch.arange(window * window) // window, torch.arange(window * window) % window)
    return (y[:, None] - y + window - 1) * span + x[:, None] - x + window - 1


def _prefixed(name: str, table: dict[str, str]) -> str | None:
    return next((new + name.removeprefix(old) for old, new in table.items() if name.startswith(old)), None)


def _swin(name: str, value: Tensor) -> tuple[str, Tensor] | None:
    if name.startswith('patch_embed.'):
        return name.replace('.proj.', '.projection.'), value
    if re.fullmatch(r'norm\d\.(weight|bias)', name) or name == 'absolute_pos_embed':
        return name, value
    stage = re.fullmatch(r'layers\.(\d+)\.(.+)', name)
    if stage is None:
        return None
    rest = stage[2]
    if rest.startswith('downsample.'):
        return f'stages.{stage[1]}.{rest}', value if rest == 'downsample.reduction.bias' else merge_order(value)
    block = re.fullmatch(r'blocks\.(\d+)\.(.+)', rest)
    new = _prefixed(block[2], _SWIN_BLOCK) if block else None
    if block is None or new is None:
        return ('', value) if block and block[2] == 'attn_mask' else None
    return f'stages.{stage[1]}.blocks.{block[1]}.{new}', value


def _swin_back(name: str, value: Tensor) -> tuple[str, Tensor] | None:
    if name.startswith('patch_embed.'):
        return name.replace('.projection.', '.proj.'), value
    if re.fullmatch(r'norm\d\.(weight|bias)', name) or name == 'absolute_pos_embed':
        return name, value
    stage = re.fullmatch(r'stages\.(\d+)\.(.+)', name)
    if stage is None:
        return None
    rest = stage[2]
    if rest.startswith('downsample.'):
        return f'layers.{stage[1]}.{rest}', merge_order(value, inverse=True)
    block = re.fullmatch(r'blocks\.(\d+)\.(.+)', rest)
    old = _prefixed(block[2], {new: old for old, new in _SWIN_BLOCK.items()}) if block else None
    return (f'layers.{stage[1]}.blocks.{block[1]}.{old}', value) if block and old else None


_STEM = {'conv1.weight': '0', 'conv1.norm': '1', 'conv2.weight': '3', 'conv2.norm': '4'}
_STEM |= {'conv3.weight': '6', 'conv3.norm': '7'}


def _resnet(name: str, value: Tensor) -> tuple[str, Tensor] | None:
    unit = re.fullmatch(r'(stem|res([2-5])\.\d+)\.(conv\d|shortcut)\.(norm\.)?(\w+)', name)
    if unit is None:
        return None
    place, stage, conv, norm, kind = unit.groups()
    if place == 'stem':
        key = _STEM.get(f'{conv}.norm' if norm else f'{conv}.weight')
        return None if key is None else (f'stem.{key}.{kind}', value)
    block = f'layer{int(stage) - 1}.{place.split(".")[1]}'
    if conv == 'shortcut':
        return f'{block}.downsample.{1 if norm else 0}.{kind}', value
    return f'{block}.{f"bn{conv[-1]}" if norm else conv}.{kind}', value


def _resnet_back(name: str, value: Tensor) -> tuple[str, Tensor] | None:
    if name.endswith('num_batches_tracked'):
        return '', value
    stem = re.fullmatch(r'stem\.(\d)\.(\w+)', name)
    if stem:
        key = next((old for old, new in _STEM.items() if new == stem[1]), None)
        return None if key is None else (f'stem.{key.removesuffix(".weight")}.{stem[2]}', value)
    unit = re.fullmatch(r'layer(\d)\.(\d+)\.(conv|bn|downsample\.)(\d)\.(\w+)', name)
    if unit is None:
        return None
    stage, block, part, number, kind = unit.groups()
    place = f'res{int(stage) + 1}.{block}'
    if part == 'downsample.':
        return f'{place}.shortcut.{"norm." if number == "1" else ""}{kind}', value
    return f'{place}.conv{number}.{"norm." if part == "bn" else ""}{kind}', value


def is_swin(state: State) -> bool:
    """Whether backbone weights are of a Swin transformer, theirs or ours."""
    return any(key.startswith(('patch_embed.', 'layers.', 'stages.')) for key in state)


def forward(state: State) -> dict[str, Tensor]:
    """Backbone weights without prefix to MMSeg's ``SwinTransformer`` or ``ResNetV1c``.

    Weights of a classifier on top (``norm.*``, ``head.*``, ``fc.*``) are left out.

    Raises:
        WeightMismatchError: If a name belongs to neither.
    """
    kept = {k: v for k, v in state.items() if not k.startswith(('norm.', 'head.', 'fc.', 'linear.', 'stem.fc.'))}
    if not is_swin(kept):
        return _renamed(kept, _resnet)
    ours = _renamed(kept, _swin)
    for key in [key for key in ours if key.endswith(_TABLE)]:
        ours.setdefault(key.replace(_TABLE, _INDEX), relative_positions(ours[key].shape[0]))
    return ours


def backward(state: State) -> dict[str, Tensor]:
    """MMSeg's ``SwinTransformer`` or ``ResNetV1c`` to the names in OVSeg's files."""
    return _renamed(state, _swin_back if is_swin(state) else _resnet_back)


def _renamed(state: State, rename: Rename) -> dict[str, Tensor]:
    new = {}
    for key, value in state.items():
        pair = rename(key, value)
        if pair is None:
            raise WeightMismatchError(
                f"'{key}' is no name of a Swin transformer or of detectron2's ResNet; is this another model's file?"
            )
        if pair[0]:  # an empty name: nothing of ours corresponds
            new[pair[0]] = pair[1].contiguous()
    return new
