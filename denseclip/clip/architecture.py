"""Which CLIP a state dict belongs to, told from its tensors (OpenAI's and open_clip's plain layout)."""

from __future__ import annotations

import functools
import warnings
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import open_clip
from torch import Tensor

from denseclip.weights import WeightMismatchError

_RESNET_HEAD = 64  # of the attention pool, by OpenAI's rule, which all of these have
_VOCABULARY = 49_408  # of OpenAI's byte pairs; a file of another one does not say which tokenizer it needs
_CURE = 'name the architecture, as in load_clip({example!r}, file)'


def infer_config(
    state: Mapping[str, Tensor], *, quick_gelu: bool = True, openai_archive: bool = False
) -> dict[str, Any]:
    """open_clip configuration of the model that a state dict was saved from.

    The number of attention heads leaves no trace in the tensors: it is that of open_clip's architectures of the same
    width and depth, which agree on it.

    Args:
        state: Names as in OpenAI's archives.
        quick_gelu: Activation; it leaves no trace in the tensors. OpenAI's models have it, most later ones do not.
        openai_archive: The file is one of OpenAI's archives, whose heads have 64 channels.

    Returns:
        ``embed_dim``, ``vision_cfg``, ``text_cfg`` and ``quick_gelu``, as ``open_clip.CLIP`` takes them.

    Raises:
        WeightMismatchError: If these are not the tensors of a plain CLIP model, or of one whose heads cannot be told.
    """
    try:
        names = architectures_of(state)
        _check_plain(state, names)
        text = text_config(state, archive=openai_archive)
        vision = _vit_config(state, openai_archive) if 'visual.proj' in state else _resnet_config(state)
        embed_dim = state['text_projection'].shape[1]
    except KeyError as error:
        raise WeightMismatchError(
            f'the file has no tensor {error}, so it is no plain CLIP model: {_CURE.format(example="RN50")}.'
        ) from None
    return {'embed_dim': embed_dim, 'vision_cfg': vision, 'text_cfg': text, 'quick_gelu': quick_gelu}


def architectures_of(state: Mapping[str, Tensor]) -> list[str]:
    """open_clip's architectures with an image tower of this width, depth and patch, and a text tower of this size.

    Raises:
        KeyError: If these are not the tensors of a CLIP model.
    """
    shape = _shape_of(state)
    return [name for name, known in _architectures().items() if known == shape]


def _shape_of(state: Mapping[str, Tensor]) -> tuple[Any, ...]:
    text_width, words = state['ln_final.weight'].shape[0], state['token_embedding.weight'].shape[0]
    text = (text_width, _layers(state, 'transformer.resblocks.'), words)
    if 'visual.proj' not in state:
        stages = tuple(_layers(state, f'visual.layer{stage}.') for stage in (1, 2, 3, 4))
        return (state['visual.layer1.0.conv1.weight'].shape[0], stages, None, True, *text)
    width, _, patch, _ = state['visual.conv1.weight'].shape
    layers = _layers(state, 'visual.transformer.resblocks.')
    return (width, layers, patch, 'visual.ln_pre.weight' in state, *text)


@functools.cache
def _architectures() -> dict[str, tuple[Any, ...]]:
    """Shapes, as :func:`_shape_of` gives them, of the architectures in the plain layout."""
    found = {}
    for name in open_clip.list_models():
        config = open_clip.get_model_config(name)
        vision, text = config['vision_cfg'], config['text_cfg']
        other = 'timm_model_name' in vision or 'hf_model_name' in text or config.get('custom_text')
        if other or 'multimodal_cfg' in config:
            continue
        layers, has_ln_pre = vision['layers'], not vision.get('no_ln_pre')
        layers = tuple(layers) if isinstance(layers, list) else layers
        image = (vision['width'], layers, vision.get('patch_size'), has_ln_pre)
        found[name] = (*image, text['width'], text['layers'], text['vocab_size'])
    return found


@functools.cache
def _head_widths() -> tuple[dict[tuple[int, int], set[int]], dict[tuple[int, int], set[int]]]:
    """Channels of a head by width and depth, of the image and text transformers of all architectures."""
    image: dict[tuple[int, int], set[int]] = defaultdict(set)
    texts: dict[tuple[int, int], set[int]] = defaultdict(set)
    for name in open_clip.list_models():
        config = open_clip.get_model_config(name)
        vision, text = config['vision_cfg'], config['text_cfg']
        if isinstance(vision.get('layers'), int):
            image[vision['width'], vision['layers']].add(vision.get('head_width', 64))
        if 'heads' in text:
            texts[text['width'], text['layers']].add(text['width'] // text['heads'])
    return dict(image), dict(texts)


def _check_plain(state: Mapping[str, Tensor], names: list[str]) -> None:
    """Refuse what has the plain names and works in another way."""
    shape = _shape_of(state)
    odd = {
        'no visual.ln_pre (CLIPA pools and masks in another way)': not shape[3],
        f'{shape[6]} words (CLIP has {_VOCABULARY}), so its tokenizer is another': shape[6] != _VOCABULARY,
    }
    for what, is_so in odd.items():
        if is_so:
            example = names[0] if names else 'ViT-L-14-CLIPA'
            fitting = f' ({", ".join(names)} fit)' if names else ''
            raise WeightMismatchError(
                f'the file has {what}, which its tensors do not describe: {_CURE.format(example=example)}{fitting}.'
            )


def _layers(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({key[len(prefix) :].split('.')[0] for key in state if key.startswith(prefix)})


def _head_width(what: str, width: int, layers: int, known: dict[tuple[int, int], set[int]], archive: bool) -> int:
    """Channels of an attention head.

    Raises:
        WeightMismatchError: If several are possible, or none.
    """
    if archive and width % 64 == 0:
        return 64
    given = known.get((width, layers), set())
    possible = given or {head for heads in known.values() for head in heads if width % head == 0}
    if len(possible) == 1:
        head = next(iter(possible))
        if not given:
            warnings.warn(
                f'no architecture of open_clip has {what} of width {width} with {layers} layers; its attention is '
                f'taken to have {width // head} heads of {head} channels.',
                stacklevel=2,
            )
        return head
    choices = ' or '.join(f'{width // head} heads of {head}' for head in sorted(possible)) or 'any number of heads'
    raise WeightMismatchError(
        f'{what} of width {width} with {layers} layers is in no architecture of open_clip, and its tensors do not say '
        f'how many attention heads it has ({choices} channels): name the architecture, or put the file into a folder '
        'with an open_clip_config.json (vision_cfg.head_width, text_cfg.heads) and write local-dir:FOLDER.'
    )


def mlp_ratio(hidden: int, width: int) -> float:
    """Ratio of a block's hidden layer, such that open_clip's ``int(width * ratio)`` is its width."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else (hidden + 0.5) / width


def _block_options(state: Mapping[str, Tensor], prefix: str, width: int) -> dict[str, Any]:
    """Hidden width and layer scale of the blocks, where they are not the usual."""
    options: dict[str, Any] = {}
    ratio = mlp_ratio(state[f'{prefix}0.mlp.c_fc.weight'].shape[0], width)
    if ratio != 4.0:
        options['mlp_ratio'] = ratio
    if f'{prefix}0.ls_1.gamma' in state:
        options['ls_init_value'] = 1e-4
    return options


def text_config(state: Mapping[str, Tensor], *, archive: bool = False) -> dict[str, Any]:
    """open_clip's ``text_cfg`` of a text tower in the plain layout.

    Args:
        state: Names as in OpenAI's archives.
        archive: The file is one of OpenAI's archives.

    Raises:
        WeightMismatchError: If its heads cannot be told.
    """
    width, layers = state['ln_final.weight'].shape[0], _layers(state, 'transformer.resblocks.')
    return {
        'context_length': state['positional_embedding'].shape[0],
        'vocab_size': state['token_embedding.weight'].shape[0],
        'width': width,
        'heads': width // _head_width('a text tower', width, layers, _head_widths()[1], archive),
        'layers': layers,
        **_block_options(state, 'transformer.resblocks.', width),
    }


def _vit_config(state: Mapping[str, Tensor], archive: bool) -> dict[str, Any]:
    width, _, patch, _ = state['visual.conv1.weight'].shape
    side = round((state['visual.positional_embedding'].shape[0] - 1) ** 0.5)
    layers = _layers(state, 'visual.transformer.resblocks.')
    return {
        'layers': layers,
        'width': width,
        'head_width': _head_width('an image tower', width, layers, _head_widths()[0], archive),
        'patch_size': patch,
        'image_size': patch * side,
        **_block_options(state, 'visual.transformer.resblocks.', width),
    }


def _resnet_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    width = state['visual.layer1.0.conv1.weight'].shape[0]
    side = round((state['visual.attnpool.positional_embedding'].shape[0] - 1) ** 0.5)
    layers = [_layers(state, f'visual.layer{stage}.') for stage in (1, 2, 3, 4)]
    # open_clip derives the pool's heads as width * 32 / head_width.
    return {'layers': layers, 'width': width, 'head_width': _RESNET_HEAD, 'image_size': 32 * side}
