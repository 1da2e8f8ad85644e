"""CLIP-DINOiser's checkpoints (github.com/wysoczanska/clip_dinoiser) to ours and back.

Their ``last.pt`` is ``{"epoch", "model_state_dict"}`` with the two convolutions alone (``obj_proj.*`` and
``bkg_decoder.*``); a full module also has ``clip_backbone.*``: open_clip's image tower, a copy of its positions, the
projection as a 1x1 convolution and the class embeddings. Ours has the convolutions under ``head.`` and, where CLIP is
stored at all, the tower under ``tower.``.
"""

from __future__ import annotations

from torch import Tensor

from ..errors import WeightMismatchError
from .registry import Converter, State, register

_HEAD = 'head.'
_PARTS = ('obj_proj.', 'bkg_decoder.')
_THEIR_TOWER = 'clip_backbone.backbone.visual.'
_OUR_TOWER = 'tower.visual.'


def is_official(state: State) -> bool:
    """Whether a state dict has the layout of the authors' files."""
    return 'obj_proj.weight' in state and 'bkg_decoder.weight' in state


def forward(state: State) -> dict[str, Tensor]:
    """Authors' names to ours.

    Args:
        state: State dict of ``last.pt`` or of their whole module. CLIP's text tower, the copied positions, the copied
            projection and the class embeddings are left out: they follow from CLIP and the vocabulary.

    Raises:
        WeightMismatchError: If the convolutions are not there.
    """
    if not is_official(state):
        raise WeightMismatchError(
            f'no CLIP-DINOiser checkpoint: obj_proj and bkg_decoder are wanted, found {", ".join(list(state)[:5])} ...'
        )
    ours = {}
    for key, value in state.items():
        if key.startswith(_PARTS):
            ours[_HEAD + key] = value
        elif key.startswith(_THEIR_TOWER):
            ours[_OUR_TOWER + key.removeprefix(_THEIR_TOWER)] = value
    return ours


def backward(state: State) -> dict[str, Tensor]:
    """Our names to those of the authors' ``last.pt``: the two convolutions, without CLIP."""
    return {
        key.removeprefix(_HEAD): value for key, value in state.items() if key.removeprefix(_HEAD).startswith(_PARTS)
    }


register(
    'dinoiser',
    Converter(forward, backward, "CLIP-DINOiser's last.pt and whole modules", wrapper='model_state_dict'),
)
