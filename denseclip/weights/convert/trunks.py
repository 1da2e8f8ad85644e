"""The trunk of a model of ours as weights of a trunk alone: a student begins with what its teacher sees."""

from __future__ import annotations

from torch import Tensor

from denseclip.weights.errors import WeightMismatchError

from .registry import Converter, State, register

_MARK = 'trunk.'


def forward(state: State) -> dict[str, Tensor]:
    """Tensors below ``backbone. ... trunk.``, under timm's names.

    Args:
        state: State dict of a model whose backbone is a ``TimmTrunk``, with an attention pool around it or without.

    Raises:
        WeightMismatchError: If the model has no such trunk.
    """
    found = {key.rpartition(_MARK)[2]: value for key, value in state.items() if _is_trunk(key)}
    if not found:
        raise WeightMismatchError("this checkpoint has no 'backbone.trunk': its backbone is no TimmTrunk.")
    return found


def _is_trunk(key: str) -> bool:
    return key.startswith('backbone.') and _MARK in key


register('trunk', Converter(forward, None, 'the TimmTrunk in the backbone of a model of ours'))
