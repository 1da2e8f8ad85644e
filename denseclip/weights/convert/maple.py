"""MaPLe's prompts to :class:`denseclip.clip.deep_prompts.CoupledPrompts` and back.

Their file ``model.pth.tar-N`` holds the whole trainer; the towers in it are those of the CLIP that was begun with,
without its word vectors, so a CLIP has to be given beside it. Word vectors of the classes (``token_prefix``,
``token_suffix``) belong to the names of the training and are left out, as the authors do when they load a file.
"""

from __future__ import annotations

from torch import Tensor

from ..errors import WeightMismatchError
from ..io import strip_prefix
from .registry import Converter, State, register

_LEARNER = 'prompt_learner.'
_TEXT, _COUPLE = 'compound_prompts_text.', 'compound_prompt_projections.'


def is_official(state: State) -> bool:
    """Whether these are the authors' names."""
    return f'{_LEARNER}ctx' in state


def forward(state: State) -> dict[str, Tensor]:
    """Authors' names to ours.

    Raises:
        WeightMismatchError: If there are no prompts.
    """
    learner = strip_prefix(state, _LEARNER)
    if 'ctx' not in learner or 'proj.weight' not in learner:
        raise WeightMismatchError("these are no weights of MaPLe: 'prompt_learner.ctx' or its projection is missing.")
    ours = {'tokens.0': learner['ctx']}
    ours.update({f'couplings.0.{part}': learner[f'proj.{part}'] for part in ('weight', 'bias')})
    for name, value in learner.items():
        for theirs, mine in ((_TEXT, 'tokens.'), (_COUPLE, 'couplings.')):
            if name.startswith(theirs):
                number, _, part = name[len(theirs) :].partition('.')
                ours[f'{mine}{int(number) + 1}{"." if part else ""}{part}'] = value
    return ours


def backward(state: State) -> dict[str, Tensor]:
    """Our names to the authors', the prompts alone."""
    theirs = {}
    for name, value in state.items():
        kind, number, *part = name.split('.')
        first = number == '0'
        stem = {'tokens': ('ctx', _TEXT), 'couplings': ('proj', _COUPLE)}[kind]
        head = stem[0] if first else f'{stem[1]}{int(number) - 1}'
        theirs[_LEARNER + '.'.join([head, *part])] = value
    return theirs


register('maple', Converter(forward, backward, "MaPLe's prompts, for CoupledPrompts"))
