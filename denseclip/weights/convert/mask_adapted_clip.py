"""CLIPs adapted by OVSeg's training code (an open_clip fork) to ``MaskAdaptedCLIP`` and back.

Their files are ``{"epoch", "name", "state_dict", "optimizer", "scaler"}`` with ``module.`` before every name; besides
OpenAI's names there is ``visual.mask_embedding``, the mask prompts.
"""

from __future__ import annotations

from torch import Tensor

from ..io import strip_prefix
from .openai_clip import ARCHIVE_NUMBERS
from .registry import Converter, State, register

_PROMPTS, _OUR_PROMPTS, _OUR_CLIP = 'visual.mask_embedding', 'mask_embedding', 'clip.'
_MODULE = 'module.'


def forward(state: State, prompts: bool = True) -> dict[str, Tensor]:
    """Authors' names to ours.

    Args:
        state: Names with or without ``module.``.
        prompts: Keep the mask prompts; False for a model that is fine-tuned without.
    """
    plain = strip_prefix(state, _MODULE) or dict(state)
    ours = {_OUR_CLIP + k: v for k, v in plain.items() if k not in (*ARCHIVE_NUMBERS, _PROMPTS)}
    return {**ours, _OUR_PROMPTS: plain[_PROMPTS]} if prompts and _PROMPTS in plain else ours


def backward(state: State) -> dict[str, Tensor]:
    """Our names to the authors', which their code reads only with ``module.`` before them."""
    theirs = {_MODULE + k: v for k, v in strip_prefix(state, _OUR_CLIP).items()}
    return {**theirs, _MODULE + _PROMPTS: state[_OUR_PROMPTS]} if _OUR_PROMPTS in state else theirs


register('mask_adapted_clip', Converter(forward, backward, "OVSeg's adapted CLIPs, for MaskAdaptedCLIP"))
