"""CLIPs in the layouts that their authors publish, under open_clip's names.

Each layout is told from its names. What a file holds beside a CLIP (a diffusion model, heads of a self-supervised loss,
averages of weights) is left out and named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..io import strip_prefix
from .registry import Converter, State, register

NO_PARTS = (
    ('transformer_no.', 'tower.transformer.'),
    ('token_embedding_no.', 'tower.token_embedding.'),
    ('positional_embedding_no', 'tower.positional_embedding'),
    ('ln_final_no.', 'tower.ln_final.'),
    ('text_projection_no', 'tower.text_projection'),
    ('prompt_no', 'prompts'),
)
"""CLIPN's names of the tower that says no, and those of :class:`denseclip.clip.text.NoTextTower`."""
LONG_KEEP = 20
"""Positions that Long-CLIP takes from its first table; the others come from the second."""


@dataclass(frozen=True)
class Layout:
    """How some authors name the parts of a CLIP.

    Attributes:
        name: Short name.
        fits: Whether a state dict is of this layout.
        rename: To open_clip's names; what is not named there is left out.
    """

    name: str
    fits: Callable[[State], bool]
    rename: Callable[[State], dict[str, Tensor]]


@dataclass(frozen=True)
class Named:
    """Tensors under open_clip's names.

    Attributes:
        state: Name to tensor.
        layout: Of the file; ``'plain'`` where nothing was done.
        left_out: First parts of the names that belong to no CLIP, each once.
    """

    state: dict[str, Tensor]
    layout: str
    left_out: tuple[str, ...] = ()


def _without(state: State, left_out: Iterable[str]) -> dict[str, Tensor]:
    prefixes = tuple(left_out)
    return {name: value for name, value in state.items() if not name.startswith(prefixes)}


def _long_clip(state: State) -> dict[str, Tensor]:
    first, second = state['positional_embedding'], state['positional_embedding_res']
    merged = torch.cat([first[:LONG_KEEP], second[LONG_KEEP:]])
    return {**_without(state, ('positional_embedding_res',)), 'positional_embedding': merged}


def _maple(state: State) -> dict[str, Tensor]:
    """Both towers; word vectors are those of the CLIP that the training began with."""
    text = strip_prefix(state, 'text_encoder.')
    visual = {f'visual.{name}': value for name, value in strip_prefix(state, 'image_encoder.').items()}
    scale = {'logit_scale': state['logit_scale']} if 'logit_scale' in state else {}
    return {**visual, **text, **scale}


LAYOUTS = (
    Layout('maple', lambda s: 'prompt_learner.ctx' in s, _maple),
    Layout('long_clip', lambda s: 'positional_embedding_res' in s, _long_clip),
    Layout(
        'clipn',
        lambda s: 'text_projection_no' in s,
        lambda s: _without(s, (theirs for theirs, _ in NO_PARTS)),
    ),
)
"""In the order in which they are tried."""


def open_clip_names(state: State) -> Named:
    """A CLIP of any known layout under open_clip's names; a state dict of none of them comes back as it is."""
    for layout in LAYOUTS:
        if layout.fits(state):
            return Named(layout.rename(state), layout.name)
    return Named(dict(state), 'plain')


def no_tower_state(state: State) -> dict[str, Tensor]:
    """CLIPN's second text tower, under the names of :class:`denseclip.clip.text.NoTextTower`; empty without one."""
    found = {}
    for theirs, ours in NO_PARTS:
        for name, value in strip_prefix(state, theirs).items():
            found[ours + name] = value
    return found


def forward(state: State) -> dict[str, Tensor]:
    """See :func:`open_clip_names`."""
    return open_clip_names(state).state


register('clip_family', Converter(forward, None, 'CLIPs in the layouts of their authors (Long-CLIP, CLIPN, ...)'))
