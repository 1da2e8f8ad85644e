"""The mask generator of Mask2Former, FC-CLIP and MAFT+ checkpoints (detectron2's layout) to ours and back.

Theirs is ``sem_seg_head.pixel_decoder.*`` and ``sem_seg_head.predictor.*``, ours ``pixel_decoder.*`` and ``decoder.*``
of :class:`~denseclip.models.heads.mask2former.OpenVocabMask2FormerHead`. No tensor changes.
"""

from __future__ import annotations

import re

from torch import Tensor

from ..errors import WeightMismatchError
from .registry import Converter, State, register

HEAD = 'sem_seg_head.'

# Theirs and ours. A tail (weight, bias ...) follows each and stays as it is; FC-CLIP and MAFT+ call the only pyramid
# step adapter_1 and layer_1, counted from the finest map.
_PREFIXES = (
    ('pixel_decoder.transformer.level_embed', 'pixel_decoder.level_embed'),
    ('pixel_decoder.transformer.encoder.layers.', 'pixel_decoder.layers.'),
    ('pixel_decoder.input_proj.', 'pixel_decoder.input_proj.'),
    ('pixel_decoder.mask_features.', 'pixel_decoder.mask_features.'),
    ('pixel_decoder.adapter_1.norm.', 'pixel_decoder.laterals.0.1.'),
    ('pixel_decoder.adapter_1.', 'pixel_decoder.laterals.0.0.'),
    ('pixel_decoder.layer_1.norm.', 'pixel_decoder.outputs.0.1.'),
    ('pixel_decoder.layer_1.', 'pixel_decoder.outputs.0.0.'),
    ('predictor.decoder_norm.', 'decoder.norm.'),
    ('predictor.query_feat.', 'decoder.query_feat.'),
    ('predictor.query_embed.', 'decoder.query_embed.'),
    ('predictor.level_embed.', 'decoder.level_embed.'),
    ('predictor.input_proj.', 'decoder.input_proj.'),
    ('predictor.mask_embed.', 'decoder.mask_embed.'),
    ('predictor._mask_pooling_proj.', 'decoder.classifier.pool_proj.'),
    ('predictor.logit_scale', 'decoder.classifier.logit_scale'),
    ('predictor.class_embed.layers.', 'decoder.classifier.class_embed.layers.'),
    ('predictor.class_embed.', 'decoder.classifier.'),
)
_PARTS = (
    ('cross_attention', 'multihead_attn', 'image_attention'),
    ('self_attention', 'self_attn', 'self_attention'),
    ('ffn', '', 'feed_forward'),
)
_THEIR_LAYER = re.compile(r'predictor\.transformer_(\w+?)_layers\.(\d+)\.(.+)')
_OUR_LAYER = re.compile(r'decoder\.layers\.(\d+)\.(\w+?)\.(.+)')


def to_ours(key: str) -> str | None:
    """Our name of one of their tensors (without ``sem_seg_head.``), or None for one that is none of the generator."""
    if match := _THEIR_LAYER.fullmatch(key):
        part, index, tail = match.groups()
        for theirs, attention, ours in _PARTS:
            if part == theirs:
                tail = re.sub(rf'^{attention}\.', 'attn.', tail) if attention else tail
                return f'decoder.layers.{index}.{ours}.{tail}'
    return _swap(key, _PREFIXES)


def to_theirs(key: str) -> str | None:
    """Their name of one of our tensors, or None."""
    if match := _OUR_LAYER.fullmatch(key):
        index, part, tail = match.groups()
        for theirs, attention, ours in _PARTS:
            if part == ours:
                tail = re.sub(r'^attn\.', f'{attention}.', tail) if attention else tail
                return f'predictor.transformer_{theirs}_layers.{index}.{tail}'
    return _swap(key, tuple((ours, theirs) for theirs, ours in _PREFIXES))


def _swap(key: str, prefixes: tuple[tuple[str, str], ...]) -> str | None:
    for source, wanted in prefixes:
        if key.startswith(source):
            return wanted + key.removeprefix(source)
    return None


def forward(state: State) -> dict[str, Tensor]:
    """Authors' names to those of our head.

    Args:
        state: ``[sem_seg_head.]pixel_decoder.*`` and ``[sem_seg_head.]predictor.*``; other parts of a checkpoint are
            left out.

    Raises:
        WeightMismatchError: If there is nothing of a mask generator, or something unknown within it.
    """
    ours = {}
    for key, value in state.items():
        inner = key.removeprefix(HEAD)
        if inner.startswith(('pixel_decoder.', 'predictor.')):
            name = to_ours(inner)
            if name is None:
                raise WeightMismatchError(f'{key} is no part of the mask generator of FC-CLIP or MAFT+ that is known.')
            ours[name] = value
    if not ours:
        raise WeightMismatchError(
            f'no mask generator: {HEAD}pixel_decoder and {HEAD}predictor are wanted, found '
            f'{", ".join(list(state)[:5])} ...'
        )
    return ours


def backward(state: State) -> dict[str, Tensor]:
    """Our head's names to the authors', under ``sem_seg_head.``; tensors of other modules are left out."""
    names = {key: to_theirs(key) for key in state}
    return {HEAD + name: state[key] for key, name in names.items() if name is not None}


register('mask2former', Converter(forward, backward, 'mask generator of FC-CLIP and MAFT+ files', wrapper='model'))
