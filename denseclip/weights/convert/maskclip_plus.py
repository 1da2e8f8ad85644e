"""Checkpoints of the original MaskCLIP+ (github.com/chongzhou96/MaskCLIP) to ours and back.

The student's backbone is MMSeg's and keeps its names. Their head wraps the ASPP in a ``decode_module`` and also holds
the frozen CLIP's last projection and the class embeddings, which ours takes from CLIP.
"""

from __future__ import annotations

from torch import Tensor

from .registry import Converter, State, register

_THEIRS = 'decode_head.decode_module.'
_OURS = 'decode_head.'
_KEPT = ('backbone.', _THEIRS + 'aspp_modules.')


def forward(state: State) -> dict[str, Tensor]:
    """Authors' names to ours: backbone and ASPP of the student; the frozen CLIP in their head is left out."""
    return {
        _OURS + key.removeprefix(_THEIRS) if key.startswith(_THEIRS) else key: value
        for key, value in state.items()
        if key.startswith(_KEPT)
    }


def backward(state: State) -> dict[str, Tensor]:
    """Our names to the authors'; what ours keeps of the teacher is left out."""
    return {
        _THEIRS + key.removeprefix(_OURS) if key.startswith(_OURS) else key: value
        for key, value in state.items()
        if key.startswith(('backbone.', _OURS))
    }


register('maskclip_plus', Converter(forward, backward, "the original MaskCLIP+'s students"))
