"""OVSeg's released checkpoints (github.com/facebookresearch/ov-seg) to ours and back.

Their files are detectron2's: ``{"model": ...}`` with ``backbone.*``, ``sem_seg_head.*`` (pixel decoder and predictor),
``criterion.empty_weight`` and ``clip_adapter.*`` (the whole adapted CLIP with its mask prompts, and the "no object"
vector). Files with a backbone alone (Swin's, detectron2's DeepLab ResNet) are converted too, to start a training from.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

from ..errors import WeightMismatchError
from ..io import strip_prefix
from . import ovseg_backbones
from .registry import Converter, State, register

_HEAD, _OUR_HEAD = 'sem_seg_head.', 'decode_head.'
_PIXELS = 'pixel_decoder.'
_ADAPTER = 'clip_adapter.'
_CLIP = _ADAPTER + 'clip_model.'
_PROMPTS = _CLIP + 'visual.mask_embedding'
_OUR_PROMPTS = 'region_classifier.mask_embedding'
_OUR_IMAGE, _OUR_TEXT = 'region_classifier.tower.', 'text.tower.'
_NO_OBJECT = 'non_object_embedding'
_LOGIT_SCALE = 'logit_scale'
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_DERIVED = ('criterion.empty_weight', _ADAPTER + 'pixel_mean', _ADAPTER + 'pixel_std', _CLIP + _LOGIT_SCALE)
"""Entries of their files that follow from settings; OVSeg multiplies cosines by 100 whatever CLIP's own scale says."""


def forward(state: State) -> dict[str, Tensor]:
    """Authors' names to ours.

    Args:
        state: State dict of a whole model, or of a backbone alone.

    Raises:
        WeightMismatchError: If a name is unknown.
    """
    if not any(key.startswith((_HEAD, _ADAPTER, 'backbone.')) for key in state):
        return ovseg_backbones.forward(state)
    ours = {
        f'backbone.{key}': value for key, value in ovseg_backbones.forward(strip_prefix(state, 'backbone.')).items()
    }
    top = _top_layer(state)
    for key, value in state.items():
        if key.startswith(_HEAD + _PIXELS):
            name = _our_pixel_name(key.removeprefix(_HEAD + _PIXELS), top)
            ours[_OUR_HEAD + _PIXELS + name] = value
        elif key.startswith(_HEAD):
            ours[_OUR_HEAD + key.removeprefix(_HEAD)] = value
        elif key == _ADAPTER + _NO_OBJECT:
            ours[_NO_OBJECT] = value
        elif key == _PROMPTS:
            ours[_OUR_PROMPTS] = value
        elif key.startswith(_CLIP + 'visual.'):
            ours[_OUR_IMAGE + key.removeprefix(_CLIP)] = value
        elif key.startswith(_CLIP) and key not in _DERIVED:
            ours[_OUR_TEXT + key.removeprefix(_CLIP)] = value
        elif key not in _DERIVED and not key.startswith('backbone.'):
            raise WeightMismatchError(f"'{key}' is no name of an OVSeg checkpoint; is this another model's file?")
    return ours


def backward(
    state: State, num_classes: int = 171, no_object_weight: float = 0.1, logit_scale: float = 100.0
) -> dict[str, Tensor]:
    """Our names to the authors'.

    Args:
        state: State dict of an ``OVSeg``, or of a backbone alone.
        num_classes: Classes of the training, for the weights of the cross-entropy in their file.
        no_object_weight: Weight of "no object" in it.
        logit_scale: CLIP's own factor, which OVSeg does not use but its files hold.
    """
    if not any(key.startswith((_OUR_HEAD, 'backbone.')) for key in state):
        return ovseg_backbones.backward(state)
    theirs = {
        f'backbone.{key}': value for key, value in ovseg_backbones.backward(strip_prefix(state, 'backbone.')).items()
    }
    levels = len({key.split('.')[3] for key in state if key.startswith(f'{_OUR_HEAD}{_PIXELS}lateral_convs.')})
    for key, value in state.items():
        if key.startswith(_OUR_HEAD + _PIXELS):
            name = _their_pixel_name(key.removeprefix(_OUR_HEAD + _PIXELS), levels + 1)
            theirs[_HEAD + _PIXELS + name] = value
        elif key.startswith(_OUR_HEAD):
            theirs[_HEAD + key.removeprefix(_OUR_HEAD)] = value
        elif key == _OUR_PROMPTS:
            theirs[_PROMPTS] = value
        elif key.startswith(_OUR_IMAGE):
            theirs[_CLIP + key.removeprefix(_OUR_IMAGE)] = value
        elif key.startswith(_OUR_TEXT):
            theirs[_CLIP + key.removeprefix(_OUR_TEXT)] = value
        elif key == _NO_OBJECT:
            theirs[_ADAPTER + key] = value
        elif not key.startswith('backbone.'):
            raise WeightMismatchError(f"'{key}' is no name of an OVSeg model of ours; which model is this file of?")
    return {**theirs, **_derived(theirs, num_classes, no_object_weight, logit_scale)}


def _derived(theirs: State, num_classes: int, no_object_weight: float, logit_scale: float) -> dict[str, Tensor]:
    weights = torch.ones(num_classes + 1)
    weights[-1] = no_object_weight
    made = {
        'criterion.empty_weight': weights,
        _ADAPTER + 'pixel_mean': torch.tensor(_CLIP_MEAN).view(1, 3, 1, 1) * 255,
        _ADAPTER + 'pixel_std': torch.tensor(_CLIP_STD).view(1, 3, 1, 1) * 255,
    }
    if any(key.startswith(_CLIP) for key in theirs):
        made[_CLIP + _LOGIT_SCALE] = torch.tensor(float(logit_scale)).log()
    return made


# --- the pixel decoder: detectron2's convolutions with a norm, MMCV's ConvModule --------------------------------------


def _top_layer(state: State) -> int:
    """Number of the layer on the coarsest map, which has no adapter."""
    found = (re.match(rf'{re.escape(_HEAD + _PIXELS)}layer_(\d+)\.', key) for key in state)
    return max((int(match[1]) for match in found if match), default=0)


def _our_pixel_name(name: str, top: int) -> str:
    conv = re.fullmatch(r'(adapter|layer)_(\d+)\.(norm\.)?(weight|bias)', name)
    if conv is None:
        return name.replace('mask_features.', 'mask_feature.')
    kind, number, norm, end = conv[1], int(conv[2]), conv[3], conv[4]
    place = f'lateral_convs.{number - 1}' if kind == 'adapter' else f'output_convs.{number - 1}'
    if kind == 'layer' and number == top:
        place = 'last_feat_conv'
    return f'{place}.{"gn" if norm else "conv"}.{end}'


def _their_pixel_name(name: str, top: int) -> str:
    conv = re.fullmatch(r'(lateral_convs\.|output_convs\.|last_feat_conv)(\d*)\.(conv|gn)\.(weight|bias)', name)
    if conv is None:
        return name.replace('mask_feature.', 'mask_features.')
    kind = 'adapter' if conv[1] == 'lateral_convs.' else 'layer'
    number = int(conv[2]) + 1 if conv[2] else top
    return f'{kind}_{number}.{"norm." if conv[3] == "gn" else ""}{conv[4]}'


register('ovseg', Converter(forward, backward, "OVSeg's models, and backbones to train it from", wrapper='model'))
