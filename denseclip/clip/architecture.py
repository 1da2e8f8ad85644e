"""Which CLIP a state dict belongs to, told from its tensors (OpenAI's and open_clip's plain layout)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from denseclip.weights import WeightMismatchError

_HEAD = 64  # every model of this layout has attention heads of 64 channels


def infer_config(state: Mapping[str, Tensor], *, quick_gelu: bool = True) -> dict[str, Any]:
    """open_clip configuration of the model that a state dict was saved from.

    Args:
        state: Names as in OpenAI's archives.
        quick_gelu: Activation; it leaves no trace in the tensors. OpenAI's models have it, most later ones do not.

    Returns:
        ``embed_dim``, ``vision_cfg``, ``text_cfg`` and ``quick_gelu``, as ``open_clip.CLIP`` takes them.

    Raises:
        WeightMismatchError: If these are not the tensors of a plain CLIP model.
    """
    try:
        text = _text_config(state)
        vision = _vit_config(state) if 'visual.proj' in state else _resnet_config(state)
        embed_dim = state['text_projection'].shape[1]
    except KeyError as error:
        raise WeightMismatchError(
            f'the file has no tensor {error}, so it is no plain CLIP model: name the architecture, '
            "as in load_clip('RN50', file)."
        ) from None
    return {'embed_dim': embed_dim, 'vision_cfg': vision, 'text_cfg': text, 'quick_gelu': quick_gelu}


def _layers(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({key[len(prefix) :].split('.')[0] for key in state if key.startswith(prefix)})


def _text_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    width = state['ln_final.weight'].shape[0]
    return {
        'context_length': state['positional_embedding'].shape[0],
        'vocab_size': state['token_embedding.weight'].shape[0],
        'width': width,
        'heads': max(width // _HEAD, 1),
        'layers': _layers(state, 'transformer.resblocks.'),
    }


def _vit_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    width, _, patch, _ = state['visual.conv1.weight'].shape
    side = round((state['visual.positional_embedding'].shape[0] - 1) ** 0.5)
    return {
        'layers': _layers(state, 'visual.transformer.resblocks.'),
        'width': width,
        'head_width': min(_HEAD, width),
        'patch_size': patch,
        'image_size': patch * side,
    }


def _resnet_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    width = state['visual.layer1.0.conv1.weight'].shape[0]
    side = round((state['visual.attnpool.positional_embedding'].shape[0] - 1) ** 0.5)
    layers = [_layers(state, f'visual.layer{stage}.') for stage in (1, 2, 3, 4)]
    # open_clip derives the pool's heads as width * 32 / head_width.
    return {'layers': layers, 'width': width, 'head_width': _HEAD, 'image_size': 32 * side}
