"""Words on DINO: a CLIP whose image tower is a DINO, made of the files that its authors publish."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from open_clip.constants import IMAGENET_MEAN, IMAGENET_STD
from open_clip.model import convert_to_custom_text_state_dict
from torch import Tensor

from denseclip.weights import WeightMismatchError, load_into, read_state_dict, resolve, strip_prefix, weight_file
from denseclip.weights.convert import convert

from .loading import LoadedCLIP, build_clip, load_clip
from .preprocess import PreprocessSpec
from .text.mapped import TextMapping

HEAD_WIDTH = 64
"""Channels of a head in all of DINO, DINOv2 and DINOv3."""
TEXT, TEXT_WEIGHTS = 'ViT-B-16', 'openai'
"""CLIP whose text tower Talk2DINO was trained with, for every size of DINO."""
SIDE = 448
"""Shorter side and window at which its authors look at pictures, in pixels."""


def talk2dino(
    mapping: Mapping[str, Tensor],
    dino: str | Path | None,
    *,
    source: str = 'the mapping',
    architecture: str | None = None,
    base: str | Path | None = None,
    trust: bool = False,
) -> LoadedCLIP:
    """Talk2DINO: patches of a DINO, and CLIP's text mapped into their space.

    Args:
        mapping: Content of the authors' file (``linear_layer.weight`` ...).
        dino: Weights of the network that it was trained on, of DINOv2 (with or without registers) or DINOv3.
        source: Where the mapping comes from, for messages.
        architecture: Of the CLIP whose text tower is taken; None is :data:`TEXT`.
        base: Its weights: a tag, a file, or a folder (``local-dir:``); None is :data:`TEXT_WEIGHTS`.
        trust: See :func:`denseclip.weights.read_state_dict`.

    Returns:
        The model. Its image embedding, which the authors do not define, is the mean of the patches.

    Raises:
        ValueError: If no DINO is named.
        WeightMismatchError: If the three do not fit together.
    """
    if dino is None:
        raise ValueError(
            f"'{source}' holds Talk2DINO's mapping of words alone; name the weights of the DINO that it belongs to: "
            '--dino dinov2_vitb14_reg4_pretrain.pth, in Python read_family(FILE, dino=FILE).'
        )
    state = convert(mapping, 'talk2dino')
    widths = TextMapping.widths_of(state)
    file = weight_file(resolve(dino))
    trunk = convert(read_state_dict(file, trust=trust), 'dino')
    text = _text_of(architecture, base, trust)
    sizes = (text.text_tower().embed_dim, trunk['cls_token'].shape[-1])
    if (widths[0], widths[-1]) != sizes:
        raise WeightMismatchError(
            f"'{source}' maps {widths[0]} numbers to {widths[-1]}, but a text embedding of {text.name} has {sizes[0]} "
            f"and a patch of '{file}' {sizes[1]}: take the DINO and the CLIP that it was trained with."
        )
    config = {
        'embed_dim': widths[-1],
        'custom_text': True,
        'quick_gelu': bool(text.config.get('quick_gelu', False)),
        'vision_cfg': dino_config(trunk, str(file)),
        'text_cfg': dict(text.config['text_cfg']),
        'text_mapping': {'widths': list(widths), 'activation': 'tanh'},
    }
    model = build_clip(config).eval()
    words = strip_prefix(convert_to_custom_text_state_dict(dict(text.model.state_dict())), 'text.')
    load_into(model.visual.trunk, trunk, source=file)  # type: ignore[union-attr,arg-type]
    load_into(model.text.tower, words, source=text.name)  # type: ignore[union-attr,arg-type]
    load_into(model.text.mapping, state, source=source)  # type: ignore[union-attr,arg-type]
    return LoadedCLIP(model, dino_preprocess(SIDE), f'{source} on {file.name}', config, text.folder)


def dino_config(state: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    """open_clip's ``vision_cfg`` of a DINO; ``timm_kwargs`` are the trunk's own sizes.

    Args:
        state: Tensors under timm's names, as the converter ``dino`` gives them.
        source: Of the weights, for messages.

    Raises:
        WeightMismatchError: If its feed-forward parts are gated, as in the giant ones.
    """
    width, _, patch, _ = state['patch_embed.proj.weight'].shape
    first = state.get('blocks.0.mlp.fc1.weight')
    if first is None or state['blocks.0.mlp.fc2.weight'].shape[1] != len(first) or width % HEAD_WIDTH:
        raise WeightMismatchError(
            f"'{source}' is no DINO of a size that words were brought to (S, B, L): its blocks are gated, or its width "
            f'{width} is no multiple of {HEAD_WIDTH}.'
        )
    depth = len({name.split('.')[1] for name in state if name.startswith('blocks.')})
    sizes: dict[str, Any] = dict(patch_size=patch, embed_dim=width, depth=depth, num_heads=width // HEAD_WIDTH)
    sizes['mlp_ratio'] = len(first) / width
    positions, registers = state.get('pos_embed'), state.get('reg_token')
    if positions is None:
        ending = '_qkvb' if 'blocks.0.attn.q_bias' in state else ''
        name, side, count = f'vit_small_patch16_dinov3{ending}', 16 * patch, 'num_reg_tokens'
    else:
        name = 'vit_small_patch14_dinov2' if registers is None else 'vit_small_patch14_reg4_dinov2'
        side, count = patch * round((positions.shape[1] - (registers is None)) ** 0.5), 'reg_tokens'
    if registers is not None:
        sizes[count] = registers.shape[1]
    if positions is not None:
        sizes['init_values'] = 1e-5 if 'blocks.0.ls1.gamma' in state else None
        sizes['fc_norm'] = False  # the norm is DINO's, before any pooling
    return {
        'timm_model_name': name,
        'timm_pool': 'avg',
        'timm_proj': 'none',
        'image_size': SIDE,
        'timm_kwargs': {**sizes, 'img_size': side},
    }


def _text_of(architecture: str | None, base: str | Path | None, trust: bool) -> LoadedCLIP:
    """The CLIP whose text tower is taken."""
    weights = str(base if base is not None else TEXT_WEIGHTS)
    if weights.startswith(('hf-hub:', 'local-dir:')):
        return load_clip(weights)
    return load_clip(architecture or TEXT, weights, trust=trust)


def dino_preprocess(side: int) -> PreprocessSpec:
    """How pictures must look to a DINO; ``side`` is the size at which words were compared with it."""
    plain = PreprocessSpec(mean=tuple(IMAGENET_MEAN), std=tuple(IMAGENET_STD), interpolation='bilinear')
    return replace(plain, size=(side, side))
