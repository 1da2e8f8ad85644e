"""SAM 3 as transformers saves it, to :class:`SAM3Segmentor` and back.

=================================  ==========================================================
theirs                             ours
=================================  ==========================================================
``*`` of ``Sam3Model``             ``sam.model.*``
``detector_model.*``               the same: the published file also holds a tracker of videos
``tracker_model.*``                left out
``tracker_neck.*``                 left out
=================================  ==========================================================
"""

from __future__ import annotations

from torch import Tensor

from .registry import Converter, State, register

_OURS, _DETECTOR, _TRACKER = 'sam.model.', 'detector_model.', ('tracker_model.', 'tracker_neck.')
_MARK = 'dot_product_scoring.text_proj.weight'


def is_official(state: State) -> bool:
    """Whether a state dict is transformers' SAM 3."""
    return _MARK in state or f'{_DETECTOR}{_MARK}' in state


def to_ours(state: State) -> dict[str, Tensor]:
    """Names of transformers to ours."""
    return {
        _OURS + name.removeprefix(_DETECTOR): value for name, value in state.items() if not name.startswith(_TRACKER)
    }


def to_theirs(state: State) -> dict[str, Tensor]:
    """Our names to those of ``Sam3Model``."""
    return {name.removeprefix(_OURS): value for name, value in state.items() if name.startswith(_OURS)}


register('sam3', Converter(to_ours, to_theirs, 'SAM 3 of transformers (Sam3Model, or the published sam3_video)'))
