"""dino.txt: a text tower trained against DINO, and two further blocks on DINO that were trained with it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import timm.layers
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from denseclip.weights import WeightMismatchError, load_into, read_state_dict, resolve, strip_prefix, weight_file
from denseclip.weights.convert import convert
from denseclip.weights.convert import dinotxt as layout

from .architecture import mlp_ratio
from .dino_text import HEAD_WIDTH, dino_config, dino_preprocess
from .loading import LoadedCLIP, build_clip

SIDE = 512
"""Shorter side at which its authors segment pictures, in pixels."""


def dinotxt(
    state: Mapping[str, Tensor],
    dino: str | Path | None,
    *,
    source: str = 'the head',
    base: str | Path | None = None,
    trust: bool = False,
) -> LoadedCLIP:
    """dino.txt from the files of its authors.

    Args:
        state: Content of the file that has the vision head, and for DINOv3 the text tower, too.
        dino: Weights of the DINO that it was trained on.
        source: Where the head comes from, for messages.
        base: For DINOv2: the file of the text tower.
        trust: See :func:`denseclip.weights.read_state_dict`.

    Returns:
        The model. Pixels and words are compared as its authors segment; the image embedding is the second half of
        theirs, the mean of the patches, since the half of the class token has no place in that space.

    Raises:
        ValueError: If no DINO is named, or the text tower is missing.
        WeightMismatchError: If they do not fit together.
    """
    if dino is None:
        raise ValueError(
            f"'{source}' holds the head of dino.txt, not the DINO below it; name that, too: --dino "
            'dinov2_vitl14_reg4_pretrain.pth, in Python read_family(FILE, dino=FILE).'
        )
    parts = dict(convert(state, 'dinotxt'))
    if not layout.is_text(state):
        if base is None:
            raise ValueError(
                f"'{source}' holds the head of dino.txt without its text tower; name the file of that by --base "
                '(dinov2_vitl14_reg4_dinotxt_tet1280d20h24l_text_encoder.pth).'
            )
        text_file = weight_file(resolve(base))
        text_state = read_state_dict(text_file, trust=trust)
        if not layout.is_text(text_state):
            raise WeightMismatchError(f"'{text_file}' is no text tower of dino.txt.")
        parts.update(convert(text_state, 'dinotxt'))
    head, words = strip_prefix(parts, 'head.'), strip_prefix(parts, 'text.')
    file = weight_file(resolve(dino))
    trunk = convert(read_state_dict(file, trust=trust), 'dino')
    sizes = (head['ln_final.weight'].shape[0], words['text_projection'].shape[1], trunk['cls_token'].shape[-1])
    if len(set(sizes)) != 1:
        raise WeightMismatchError(
            f"'{source}' has {sizes[0]} channels, its text tower {sizes[1]} and '{file}' {sizes[2]}: take the files "
            'that belong together.'
        )
    config = _config(head, words, dino_config(trunk, str(file)))
    model = build_clip(config).eval()
    load_into(model.visual.trunk, with_head(trunk, head), source=source)  # type: ignore[union-attr,arg-type]
    load_into(model.text, words, source=source)  # type: ignore[arg-type]
    return LoadedCLIP(model, dino_preprocess(SIDE), f'{source} on {file.name}', config)


def _config(head: Mapping[str, Tensor], words: Mapping[str, Tensor], vision: dict[str, Any]) -> dict[str, Any]:
    """open_clip's configuration; ``vision_cfg.head_blocks`` says what :func:`add_head` puts on DINO."""
    width, context = words['positional_embedding'].shape[1], words['positional_embedding'].shape[0]
    hidden = words['transformer.resblocks.0.mlp.c_fc.weight'].shape[0]
    blocks = dict(count=_count(head, 'blocks.'), hidden=head['blocks.0.mlp.fc1_g.weight'].shape[0])
    return {
        'embed_dim': head['ln_final.weight'].shape[0],
        'custom_text': True,
        'quick_gelu': False,
        'vision_cfg': {**vision, 'image_size': SIDE, 'head_blocks': blocks},
        'text_cfg': {
            'context_length': context,
            'vocab_size': words['token_embedding.weight'].shape[0],
            'width': width,
            'heads': width // HEAD_WIDTH,
            'layers': _count(words, 'transformer.resblocks.'),
            'mlp_ratio': mlp_ratio(hidden, width),
        },
    }


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({name.removeprefix(prefix).split('.')[0] for name in state if name.startswith(prefix)})


def with_head(trunk: Mapping[str, Tensor], head: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a DINO with a head, under the names that :func:`add_head` makes."""
    depth = _count(trunk, 'blocks.')
    found = {(f'blocks.{depth}.{k[5:]}' if k.startswith('norm.') else k): v for k, v in trunk.items()}
    for key, value in head.items():
        number, _, rest = key.removeprefix('blocks.').partition('.')
        found[f'blocks.{depth + 1 + int(number)}.{rest}' if key.startswith('blocks.') else f'norm.{rest}'] = value
    return found


def add_head(trunk: Any, settings: Mapping[str, int]) -> None:
    """Put the head of dino.txt on a DINO of timm: its norm becomes a layer, further blocks and their norm follow.

    The new layers know no rotary positions; ``trunk.head_blocks`` says how many of the last layers they are. timm's own
    forward pass of an ``Eva`` (DINOv3) does not leave those out, ``TimmViTTower`` does.

    Args:
        trunk: timm's network.
        settings: ``count`` of the blocks, ``hidden`` size of their gated feed-forward parts.
    """
    width, count, hidden = trunk.embed_dim, int(settings['count']), int(settings['hidden'])
    norm: Any = partial(nn.LayerNorm, eps=1e-5)
    blocks = (
        Block(
            width,
            width // HEAD_WIDTH,
            mlp_ratio=mlp_ratio(hidden, width),
            init_values=1e-5,
            norm_layer=norm,
            act_layer=nn.SiLU,
            mlp_layer=timm.layers.SwiGLU,
        )
        for _ in range(count)
    )
    for layer in (trunk.norm, *blocks):
        trunk.blocks.append(layer)
    trunk.norm = norm(width)
    trunk.head_blocks = 1 + count
