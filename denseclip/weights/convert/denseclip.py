"""Checkpoints of the authors' DenseCLIP (github.com/raoyongming/DenseCLIP) to ours and back.

Theirs are mmcv runner files whose ``state_dict`` has ``contexts``, ``gamma``, ``backbone.*`` under CLIP's own names,
``text_encoder.*``, ``context_decoder.*``, ``neck.*`` and the heads. Ours differ only in where CLIP's modules sit:
the image tower under ``backbone.tower.visual.``, the text tower under ``text_encoder.tower.``. The trunk of the
any-backbone variant (``backbone.body.*``) sits under ``backbone.trunk.``. No tensor changes, so the way back is exact.
"""

from __future__ import annotations

import re

from torch import Tensor

from .registry import Converter, State, register

_VISUAL = 'backbone.tower.visual.'
_TEXT = 'text_encoder.tower.'
# What CLIP's image towers hold; everything else below "backbone." (the ViT's fpn1..4) keeps its place.
_CLIP_VISUAL = re.compile(
    r'backbone\.(conv\d|bn\d|layer\d|attnpool|class_embedding|positional_embedding|proj|ln_pre|ln_post|transformer)(\.|$)'
)


def is_official(state: State) -> bool:
    """Whether a state dict has the layout of the authors' files (DenseCLIP models and their CLIP baselines).

    MMSeg's own ResNets also have ``backbone.conv1`` and ``backbone.layer1``; CLIP's stem has three convolutions, its
    ViT a ``ln_pre``.
    """
    if any(key.startswith((_VISUAL, _TEXT)) for key in state):
        return False
    clip_image = 'backbone.conv3.weight' in state or 'backbone.ln_pre.weight' in state
    return clip_image or ('text_encoder.text_projection' in state and 'contexts' in state)


def forward(state: State) -> dict[str, Tensor]:
    """Authors' names to ours.

    Args:
        state: State dict of an authors' checkpoint (segmentation, detection, or their baselines).

    Returns:
        State dict of our model with the same config.
    """
    any_backbone = any(key.startswith('backbone.body.') for key in state)

    def rename(key: str) -> str:
        if key.startswith('text_encoder.'):
            return _TEXT + key.removeprefix('text_encoder.')
        if any_backbone:
            return key.replace('backbone.body.', 'backbone.trunk.', 1)
        return _VISUAL + key.removeprefix('backbone.') if _CLIP_VISUAL.match(key) else key

    return {rename(key): value for key, value in state.items()}


def backward(state: State) -> dict[str, Tensor]:
    """Our names to the authors'."""

    def rename(key: str) -> str:
        for ours, theirs in ((_TEXT, 'text_encoder.'), (_VISUAL, 'backbone.'), ('backbone.trunk.', 'backbone.body.')):
            if key.startswith(ours):
                return theirs + key.removeprefix(ours)
        return key

    return {rename(key): value for key, value in state.items()}


register('denseclip', Converter(forward, backward, "DenseCLIP's authors' checkpoints of all tasks, CLIP baselines"))
