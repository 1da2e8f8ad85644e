"""MMSegmentation's and MMDetection's Mask2Former checkpoints to our head and back.

What stands in ``decode_head.*`` (or ``panoptic_head.*``, or without either) gets the names of
:class:`~denseclip.models.heads.mask2former.OpenVocabMask2FormerHead`; the backbone and all else keep theirs. No tensor
changes. The two heads are one function up to the order of sums.
"""

from __future__ import annotations

import re

from torch import Tensor

from ..errors import WeightMismatchError
from .registry import Converter, State, register

_HEAD = re.compile(r'(decode_head\.|panoptic_head\.)?(.+)')
_ENCODER, _PIXELS = 'pixel_decoder.encoder.layers.#.', 'pixel_decoder.layers.#.'
_LAYERS, _OURS = 'transformer_decoder.layers.#.', 'decoder.layers.#.'
# Theirs and ours; # is a number, and a tail (weight, bias ...) follows each. The first that fits counts.
_NAMES = (
    ('pixel_decoder.input_convs.#.conv.', 'pixel_decoder.input_proj.#.0.'),
    ('pixel_decoder.input_convs.#.gn.', 'pixel_decoder.input_proj.#.1.'),
    ('pixel_decoder.level_encoding.weight', 'pixel_decoder.level_embed'),
    (f'{_ENCODER}ffn.layers.0.0.', f'{_PIXELS}linear1.'),
    (f'{_ENCODER}ffn.layers.1.', f'{_PIXELS}linear2.'),
    (f'{_ENCODER}norms.0.', f'{_PIXELS}norm1.'),
    (f'{_ENCODER}norms.1.', f'{_PIXELS}norm2.'),
    (_ENCODER, _PIXELS),
    ('pixel_decoder.lateral_convs.#.conv.', 'pixel_decoder.laterals.#.0.'),
    ('pixel_decoder.lateral_convs.#.gn.', 'pixel_decoder.laterals.#.1.'),
    ('pixel_decoder.output_convs.#.conv.', 'pixel_decoder.outputs.#.0.'),
    ('pixel_decoder.output_convs.#.gn.', 'pixel_decoder.outputs.#.1.'),
    ('pixel_decoder.mask_feature.', 'pixel_decoder.mask_features.'),
    (f'{_LAYERS}norms.0.', f'{_OURS}image_attention.norm.'),
    (f'{_LAYERS}norms.1.', f'{_OURS}self_attention.norm.'),
    (f'{_LAYERS}norms.2.', f'{_OURS}feed_forward.norm.'),
    (f'{_LAYERS}cross_attn.', f'{_OURS}image_attention.'),
    (f'{_LAYERS}self_attn.', f'{_OURS}self_attention.'),
    (f'{_LAYERS}ffn.layers.0.0.', f'{_OURS}feed_forward.linear1.'),
    (f'{_LAYERS}ffn.layers.1.', f'{_OURS}feed_forward.linear2.'),
    ('transformer_decoder.post_norm.', 'decoder.norm.'),
    ('decoder_input_projs.', 'decoder.input_proj.'),
    ('query_embed.', 'decoder.query_embed.'),
    ('query_feat.', 'decoder.query_feat.'),
    ('level_embed.', 'decoder.level_embed.'),
    ('cls_embed.', 'decoder.classifier.'),
    ('mask_embed.0.', 'decoder.mask_embed.layers.0.'),
    ('mask_embed.2.', 'decoder.mask_embed.layers.1.'),
    ('mask_embed.4.', 'decoder.mask_embed.layers.2.'),
)
_PARTS = ('pixel_decoder.', 'transformer_decoder.', 'decoder_input_projs.', 'cls_embed.', 'mask_embed.')
_OUR_PARTS = ('pixel_decoder.', 'decoder.')


def _compiled(pairs: tuple[tuple[str, str], ...]) -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(re.escape(old).replace(r'\#', r'(\d+)')), new.replace('#', r'\1')) for old, new in pairs]


_TO_OURS = _compiled(_NAMES)
_TO_THEIRS = _compiled(tuple((ours, theirs) for theirs, ours in _NAMES))


def forward(state: State) -> dict[str, Tensor]:
    """Their names to ours.

    Raises:
        WeightMismatchError: If there is no such head, or something unknown within it.
    """
    return _renamed(state, _TO_OURS, _PARTS, "no Mask2Former of MMSegmentation's or MMDetection's")


def backward(state: State) -> dict[str, Tensor]:
    """Our names to theirs; for errors see :func:`forward`."""
    return _renamed(state, _TO_THEIRS, _OUR_PARTS, 'no Mask2Former head of ours')


def _renamed(
    state: State, names: list[tuple[re.Pattern[str], str]], parts: tuple[str, ...], lacking: str
) -> dict[str, Tensor]:
    split = {key: match.groups() for key in state if (match := _HEAD.fullmatch(key))}
    found = [prefix for prefix, inner in split.values() if inner.startswith(parts)]
    if not found:
        raise WeightMismatchError(
            f'{lacking}: {" or ".join(parts[:2])} are wanted, found {", ".join([*state][:5])} ...'
        )
    head, renamed = found[0], {}
    for key, (prefix, inner) in split.items():
        new = next((p.sub(new, inner, count=1) for p, new in names if p.match(inner)), None) if prefix == head else key
        if prefix == head and new is None:
            raise WeightMismatchError(f'{key} is no part of a Mask2Former head that is known.')
        renamed[f'{head or ""}{new}' if prefix == head else key] = state[key]
    return renamed


register('mmseg_mask2former', Converter(forward, backward, "Mask2Former of MMSegmentation's and MMDetection's files"))
