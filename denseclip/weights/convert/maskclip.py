"""Weights of the original MaskCLIP (github.com/chongzhou96/MaskCLIP) to open_clip's names and back.

Their models are MMSeg's: a backbone with CLIP's weights under MMSeg's names (ViT or ResNet), and a head that holds the
last projection as 1x1 convolutions and the class embeddings. The backbone file that their tool makes from OpenAI's
archive (``*_clip_backbone.pth``) has the same names. Class embeddings are left out: they follow from the vocabulary.
"""

from __future__ import annotations

import re

from torch import Tensor

from ..errors import WeightMismatchError
from .registry import Converter, State, register

_VISUAL = 'visual.'
_BACKBONE = 'backbone.'
_HEAD = 'decode_head.'
_VIT = {
    'patch_embed.projection.': 'conv1.',
    'ln0.': 'ln_pre.',
    'ln1.': 'ln_post.',
}
_VIT_BLOCK = {
    'ln1.': 'ln_1.',
    'attn.attn.': 'attn.',
    'ln2.': 'ln_2.',
    'ffn.layers.0.0.': 'mlp.c_fc.',
    'ffn.layers.1.': 'mlp.c_proj.',
}
_STEM = {
    'stem.0.': 'conv1.',
    'stem.1.': 'bn1.',
    'stem.3.': 'conv2.',
    'stem.4.': 'bn2.',
    'stem.6.': 'conv3.',
    'stem.7.': 'bn3.',
}
_DOWNSAMPLE = {'.downsample.1.': '.downsample.0.', '.downsample.2.': '.downsample.1.'}
_POOL = ('q_proj', 'k_proj', 'v_proj', 'c_proj')
_LEFT_OUT = ('text_embeddings', 'conv_seg.')


def forward(state: State) -> dict[str, Tensor]:
    """Original MaskCLIP's names to open_clip's ``visual.*``.

    Args:
        state: State dict of a whole model, or of its backbone or head file.

    Raises:
        WeightMismatchError: If a name is unknown.
    """
    ours: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key.removeprefix(_HEAD)
        if key.startswith(_BACKBONE):
            new, value = _backbone(key.removeprefix(_BACKBONE), value)
            ours[_VISUAL + new] = value
        elif name in ('proj.weight', 'proj'):
            ours[f'{_VISUAL}proj'] = value.flatten(1).t().contiguous()
        elif name.split('.')[0] in _POOL:
            ours[f'{_VISUAL}attnpool.{name}'] = value.flatten(1) if name.endswith('weight') else value
        elif not name.startswith(_LEFT_OUT):
            raise WeightMismatchError(f"'{key}' is no name of the original MaskCLIP; is this another model's file?")
    return ours


def _backbone(name: str, value: Tensor) -> tuple[str, Tensor]:
    """One tensor of the backbone under open_clip's name and shape."""
    if name == 'cls_token':
        return 'class_embedding', value.flatten()
    if name == 'pos_embed':
        return 'positional_embedding', value.squeeze(0)
    block = re.fullmatch(r'layers\.(\d+)\.(.+)', name)
    if block:
        return f'transformer.resblocks.{block[1]}.{_renamed(block[2], _VIT_BLOCK)}', value
    for old, new in _DOWNSAMPLE.items():
        if old in name:
            return name.replace(old, new), value
    return (name if name.startswith('layer') else _renamed(name, {**_VIT, **_STEM})), value


def _renamed(name: str, table: dict[str, str]) -> str:
    for old, new in table.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    raise WeightMismatchError(f"'{_BACKBONE}{name}' is no name of the original MaskCLIP; is this another model's file?")


def backward(state: State) -> dict[str, Tensor]:
    """open_clip's ``visual.*`` to the original MaskCLIP's names; other tensors are left out."""
    theirs: dict[str, Tensor] = {}
    for key, value in state.items():
        if not key.startswith(_VISUAL):
            continue
        name = key.removeprefix(_VISUAL)
        pool = re.fullmatch(r'attnpool\.(\w_proj)\.(weight|bias)', name)
        if name == 'proj':
            theirs[f'{_HEAD}proj.weight'] = value.t()[:, :, None, None].contiguous()
        elif pool:
            theirs[f'{_HEAD}{pool[1]}.{pool[2]}'] = value[:, :, None, None] if pool[2] == 'weight' else value
        elif name != 'attnpool.positional_embedding':  # their ResNet keeps no positions
            new, value = _their_backbone(name, value)
            theirs[_BACKBONE + new] = value
    return theirs


def _their_backbone(name: str, value: Tensor) -> tuple[str, Tensor]:
    """One tensor of the backbone under their name and shape."""
    if name == 'class_embedding':
        return 'cls_token', value.view(1, 1, -1)
    if name == 'positional_embedding':
        return 'pos_embed', value.unsqueeze(0)
    block = re.fullmatch(r'transformer\.resblocks\.(\d+)\.(.+)', name)
    if block:
        back = {new: old for old, new in _VIT_BLOCK.items()}
        return f'layers.{block[1]}.{_renamed(block[2], back)}', value
    for old, new in reversed(_DOWNSAMPLE.items()):
        if new in name:
            return name.replace(new, old), value
    is_vit = name.startswith('ln_') or (name.startswith('conv1.') and value.shape[-1] > 3)
    table = _VIT if is_vit else _STEM
    return (name if name.startswith('layer') else _renamed(name, {new: old for old, new in table.items()})), value


register(
    'maskclip', Converter(forward, backward, "the original MaskCLIP's backbones and heads to open_clip's image tower")
)
