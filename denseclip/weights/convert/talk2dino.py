"""Talk2DINO's mapping of CLIP's text embeddings into the space of DINO (github.com/lorebianchi98/Talk2DINO).

Its files hold ``linear_layer`` and ``hidden_layers.0`` (older ones ``linear_layer2``), and nothing of the two networks
between which it stands.
"""

from __future__ import annotations

from torch import Tensor

from ..errors import WeightMismatchError
from .registry import Converter, State, register

_FIRST, _HIDDEN, _OLD = 'linear_layer.', 'hidden_layers.', 'linear_layer2.'


def is_official(state: State) -> bool:
    """Whether these are the tensors of such a mapping."""
    return f'{_FIRST}weight' in state and all(key.startswith((_FIRST, _HIDDEN, _OLD)) for key in state)


def forward(state: State) -> dict[str, Tensor]:
    """The names of :class:`denseclip.clip.text.TextMapping`.

    Args:
        state: Content of the authors' file.

    Raises:
        WeightMismatchError: If it holds something else, such as weights of heads of an ablation.
    """
    if not is_official(state):
        raise WeightMismatchError(
            'no mapping of Talk2DINO: linear_layer.weight, hidden_layers.0.weight and their biases are wanted, found '
            f'{", ".join(list(state)[:5]) or "nothing"} ...'
        )
    found = {}
    for key, value in state.items():
        if key.startswith(_HIDDEN):
            number, _, rest = key.removeprefix(_HIDDEN).partition('.')
            found[f'layers.{int(number) + 1}.{rest}'] = value
        else:
            old = key.startswith(_OLD)
            found[f'layers.{int(old)}.{key.removeprefix(_OLD if old else _FIRST)}'] = value
    return found


def backward(state: State) -> dict[str, Tensor]:
    """The authors' names."""
    found = {}
    for key, value in state.items():
        number, _, rest = key.removeprefix('layers.').partition('.')
        found[f'{_HIDDEN}{int(number) - 1}.{rest}' if int(number) else f'{_FIRST}{rest}'] = value
    return found


register('talk2dino', Converter(forward, backward, "Talk2DINO's mapping of text embeddings to TextMapping"))
