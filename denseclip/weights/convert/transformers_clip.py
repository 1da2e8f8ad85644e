"""CLIP as Hugging Face's transformers stores it (``CLIPModel``), under OpenAI's names."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from ..errors import WeightMismatchError
from .registry import Converter, State, register

_TOWERS = {'text_model.': '', 'vision_model.': 'visual.'}
_PLACES = {
    'embeddings.token_embedding.weight': 'token_embedding.weight',
    'embeddings.position_embedding.weight': 'positional_embedding',
    'embeddings.class_embedding': 'class_embedding',
    'embeddings.patch_embedding.weight': 'conv1.weight',
    'final_layer_norm.weight': 'ln_final.weight',
    'final_layer_norm.bias': 'ln_final.bias',
    'pre_layrnorm.weight': 'ln_pre.weight',  # transformers' own spelling
    'pre_layrnorm.bias': 'ln_pre.bias',
    'post_layernorm.weight': 'ln_post.weight',
    'post_layernorm.bias': 'ln_post.bias',
}
_BLOCK_PARTS = {
    'self_attn.out_proj': 'attn.out_proj',
    'layer_norm1': 'ln_1',
    'layer_norm2': 'ln_2',
    'mlp.fc1': 'mlp.c_fc',
    'mlp.fc2': 'mlp.c_proj',
}
_BLOCK = re.compile(r'encoder\.layers\.(\d+)\.(.+)\.(weight|bias)')
_MATRICES = {'visual_projection.weight': 'visual.proj', 'text_projection.weight': 'text_projection'}


def is_official(state: State) -> bool:
    """Whether these are transformers' names of a whole CLIP."""
    return 'text_model.final_layer_norm.weight' in state and 'vision_model.embeddings.class_embedding' in state


def forward(state: State) -> dict[str, Tensor]:
    """From ``text_model.*``, ``vision_model.*`` and the two projections to OpenAI's names.

    Query, key and value projections become one matrix; projections are transposed; position numbers are dropped.

    Raises:
        WeightMismatchError: If a name belongs to no part of CLIP, or a projection lacks its companions.
    """
    found: dict[str, Tensor] = {}
    thirds: dict[str, dict[str, Tensor]] = {}
    unknown = []
    for name, value in state.items():
        if name in _MATRICES:
            found[_MATRICES[name]] = value.T.contiguous()
        elif name == 'logit_scale':
            found[name] = value
        elif not name.endswith('position_ids'):
            target = _target(name)
            if target is None:
                unknown.append(name)
            elif target.endswith(('.q', '.k', '.v')):
                thirds.setdefault(target[:-2], {})[target[-1]] = value
            else:
                found[target] = value
    if unknown:
        raise WeightMismatchError(
            f"these are not the names of transformers' CLIPModel: {', '.join(unknown[:5])}"
            f'{" ..." if len(unknown) > 5 else ""}.'
        )
    for target, parts in thirds.items():
        if len(parts) < 3:
            raise WeightMismatchError(f"'{target}' has {', '.join(sorted(parts))} only, of query, key and value.")
        found[target] = torch.cat([parts['q'], parts['k'], parts['v']])
    return found


def _target(name: str) -> str | None:
    """OpenAI's name; for a query, key or value its common name with ``.q``, ``.k`` or ``.v`` after it."""
    for theirs, ours in _TOWERS.items():
        if not name.startswith(theirs):
            continue
        rest = name[len(theirs) :]
        if rest in _PLACES:
            return ours + _PLACES[rest]
        match = _BLOCK.fullmatch(rest)
        if match is None:
            return None
        number, part, kind = match.groups()
        block = f'{ours}transformer.resblocks.{number}.'
        if part in _BLOCK_PARTS:
            return f'{block}{_BLOCK_PARTS[part]}.{kind}'
        if re.fullmatch(r'self_attn\.[qkv]_proj', part):
            return f'{block}attn.in_proj_{kind}.{part[len("self_attn.")]}'
    return None


register('transformers_clip', Converter(forward, None, "CLIPModel of Hugging Face's transformers"))
