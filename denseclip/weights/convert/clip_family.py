"""CLIPs in the layouts that their authors publish, under open_clip's names.

Each layout is told from its names. What a file holds beside a CLIP (a diffusion model, heads of a self-supervised loss,
averages of weights) is left out and named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import WeightMismatchError
from ..io import strip_prefix
from . import transformers_clip
from .registry import Converter, State, register

PREFIXES = ('class_model.model.', 'segmentor.net.model.', 'clip_model.', 'model.', 'clip.')
"""What training code puts before the names of a CLIP (DIVA: ``class_model.model.``, SPAR: ``segmentor.net.model.``)."""
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
_SLIP_EXTRAS = (
    'visual_ema.',
    'transformer_e.',
    'image_projection_e',
    'text_projection_e',
    'image_mlp.',
    'im_proj_byol',
    'im_pred_byol',
)
"""Averages of weights and heads of self-supervised losses in files of SLIP and A-CLIP."""
_TOWER = ('conv1.', 'class_embedding', 'positional_embedding', 'ln_pre.', 'transformer.', 'ln_post.', 'proj')


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
        layout: Of the file; ``'plain'`` where nothing was renamed.
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


def _cloob(state: State) -> dict[str, Tensor]:
    """The factor of the cosines has another name; newer files keep the whole text tower under ``transformer``."""
    found = {name: value for name, value in state.items() if not name.startswith('transformer.')}
    found['logit_scale'] = found.pop('logit_inv_tau')
    text = strip_prefix(state, 'transformer.')
    nested = 'ln_final.weight' in text
    return {**found, **{name if nested else f'transformer.{name}': value for name, value in text.items()}}


def _slip(state: State) -> dict[str, Tensor]:
    """A ViT of timm with a projection beside it, as open_clip keeps a trunk of timm."""
    own = _without(state, _SLIP_EXTRAS)
    found = {name: value for name, value in own.items() if not name.startswith('visual.')}
    found.update({f'visual.trunk.{name}': value for name, value in strip_prefix(own, 'visual.').items()})
    found['visual.head.proj.weight'] = found.pop('image_projection').T.contiguous()
    return found


LAYOUTS = (
    Layout('transformers', transformers_clip.is_official, transformers_clip.forward),
    Layout('maple', lambda s: 'prompt_learner.ctx' in s, _maple),
    Layout('long_clip', lambda s: 'positional_embedding_res' in s, _long_clip),
    Layout(
        'clipn',
        lambda s: 'text_projection_no' in s,
        lambda s: _without(s, (theirs for theirs, _ in NO_PARTS)),
    ),
    Layout('cloob', lambda s: 'logit_inv_tau' in s, _cloob),
    Layout('slip', lambda s: 'image_projection' in s and 'visual.patch_embed.proj.weight' in s, _slip),
    Layout(
        'image_tower',
        lambda s: 'class_embedding' in s and 'conv1.weight' in s and all(k.startswith(_TOWER) for k in s),
        lambda s: {f'visual.{name}': value for name, value in s.items()},
    ),
)
"""In the order in which they are tried."""


def open_clip_names(state: State) -> Named:
    """A CLIP of any known layout under open_clip's names; a state dict of none of them comes back as it is."""
    inner: dict[str, Tensor] = dict(state)
    dropped: tuple[str, ...] = ()
    prefixes = ('', 'module.', *PREFIXES, *(f'module.{prefix}' for prefix in PREFIXES))
    prefix = next((p for p in prefixes if _is_clip(strip_prefix(state, p))), '')
    if prefix:
        dropped = tuple(dict.fromkeys(name.split('.')[0] for name in state if not name.startswith(prefix)))
        inner = strip_prefix(state, prefix)
    layout = next((layout for layout in LAYOUTS if layout.fits(inner)), None)
    if layout is None:
        return Named(inner, 'plain', dropped)
    return Named(layout.rename(inner), layout.name, dropped)


def _is_clip(state: State) -> bool:
    """Whether names are those of a CLIP, or of an image tower of one, without a prefix."""
    whole = any(name.startswith(('visual.', 'image_encoder.', 'vision_model.')) for name in state)
    return whole or LAYOUTS[-1].fits(state)


def no_tower_state(state: State) -> dict[str, Tensor]:
    """CLIPN's second text tower, under the names of :class:`denseclip.clip.text.NoTextTower`; empty without one."""
    plain = strip_prefix(state, 'module.') or dict(state)
    found = {}
    for theirs, ours in NO_PARTS:
        for name, value in strip_prefix(plain, theirs).items():
            found[ours + name] = value
    return found


def forward(state: State) -> dict[str, Tensor]:
    """See :func:`open_clip_names`.

    Raises:
        WeightMismatchError: If nothing in it looks like a CLIP.
    """
    named = open_clip_names(state)
    if not any(name.startswith(('visual.', 'text.', 'ln_final.')) for name in named.state):
        raise WeightMismatchError(f'no CLIP: found {", ".join(list(state)[:5]) or "nothing"} ...')
    return named.state


register('clip_family', Converter(forward, None, 'CLIPs in the layouts of their authors (Long-CLIP, SLIP, CLOOB, ...)'))
