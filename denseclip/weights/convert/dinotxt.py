"""dino.txt's vision head and text tower (github.com/facebookresearch/dinov2, github.com/facebookresearch/dinov3).

For DINOv2 they are two files (``..._vision_head.pth``, ``..._text_encoder.pth``), for DINOv3 one; the DINO itself is a
file of its own. The first half of a text embedding was trained with the class token, the second with the mean of the
patches; pixels are compared with the second half, and that alone is kept.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import WeightMismatchError
from ..io import strip_prefix
from .registry import Converter, State, register

_VISION, _TEXT = 'visual_model.head.', 'text_model.'
_HEAD_NAMES = (
    ('block_list.', 'blocks.'),
    ('.mlp.w1.', '.mlp.fc1_g.'),
    ('.mlp.w2.', '.mlp.fc1_x.'),
    ('.mlp.w3.', '.mlp.fc2.'),
)
_TEXT_NAMES = (
    ('blocks.', 'transformer.resblocks.'),
    ('.attention_norm.', '.ln_1.'),
    ('.attention.qkv.', '.attn.in_proj_'),
    ('.attention.proj.', '.attn.out_proj.'),
    ('.ffn_norm.', '.ln_2.'),
    ('.feed_forward.fc1.', '.mlp.c_fc.'),
    ('.feed_forward.fc2.', '.mlp.c_proj.'),
)


def _head_of(state: State) -> dict[str, Tensor]:
    whole = strip_prefix(state, _VISION)
    return whole or {k: v for k, v in state.items() if k.startswith(('block_list.', 'ln_final.', 'linear_projection.'))}


def _text_of(state: State) -> dict[str, Tensor]:
    whole = strip_prefix(state, _TEXT)
    return whole or {k: v for k, v in state.items() if k.startswith(('backbone.', 'head.'))}


def is_head(state: State) -> bool:
    """Whether the vision head is in it, with or without the text tower."""
    head = _head_of(state)
    return 'ln_final.weight' in head and any(key.endswith('.mlp.w1.weight') for key in head)


def is_text(state: State) -> bool:
    """Whether the text tower is in it."""
    return {'backbone.token_embedding.weight', 'head.linear_projection.weight'} <= set(_text_of(state))


def forward(state: State) -> dict[str, Tensor]:
    """The head under timm's names (``head.blocks.0 ...``, ``head.ln_final``), the text tower under open_clip's.

    Args:
        state: Content of one of the files, or of both together.

    Raises:
        WeightMismatchError: If neither is in it, or the head has a projection, which no published one has.
    """
    if not (is_head(state) or is_text(state)):
        raise WeightMismatchError(
            'neither head nor text tower of dino.txt: block_list.0.mlp.w1.weight or backbone.token_embedding.weight '
            f'is wanted, found {", ".join(list(state)[:5]) or "nothing"} ...'
        )
    found = {}
    for key, value in _head_of(state).items():
        if key.startswith('linear_projection.'):
            raise WeightMismatchError("this head of dino.txt has a linear projection, which its authors' heads do not.")
        found['head.' + _renamed(key, _HEAD_NAMES)] = value
    for key, value in _text_of(state).items():
        if key == 'head.linear_projection.weight':
            found['text.text_projection'] = value[len(value) // 2 :].T.contiguous()
        elif key.startswith('backbone.'):
            name = _renamed(key.removeprefix('backbone.'), _TEXT_NAMES)
            found[f'text.{name}'] = value
            if name.endswith('.attn.in_proj_weight'):  # open_clip always has biases; there, they are optional
                found.setdefault(f'text.{name.removesuffix("weight")}bias', torch.zeros_like(value[:, 0]))
    return found


def _renamed(key: str, names: tuple[tuple[str, str], ...]) -> str:
    for theirs, ours in names:
        key = key.replace(theirs, ours)
    return key


register('dinotxt', Converter(forward, None, "dino.txt's vision head and text tower to a CLIP on DINO"))
