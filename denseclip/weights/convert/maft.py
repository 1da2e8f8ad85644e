"""Checkpoints of FC-CLIP and MAFT+ (detectron2's layout) to ours and back.

========================================  =========================================================
theirs                                    ours
========================================  =========================================================
``backbone.clip_model.visual.*``          ``backbone.tower.visual.*``
``backbone.clip_model.logit_scale``       ``clip_logit_scale``
``backbone.clip_model.*`` (text)          ``text.tower.*``
``sem_seg_head.*``                        ``head.*``, see :mod:`.mask2former`
``cdt.cross_atten.*``                     ``transfer.*``
``void_embedding.weight``                 the same
``backbone_t.clip_model.visual.*``        ``teacher.visual.*``, left out unless asked for: it is the original CLIP
``criterion.empty_weight``                left out: a constant, but its length is that of the training vocabulary
========================================  =========================================================

The files hold ``{"model": ...}``, with the state of the training beside it, or the tensors alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import WeightMismatchError
from . import mask2former
from .registry import Converter, State, register

_CLIP = 'backbone.clip_model.'
_TEACHER = 'backbone_t.clip_model.'
_VOID_WEIGHT = 'criterion.empty_weight'
_TRANSFER = (
    ('multihead_attn.', 'attention.'),
    ('MLP.', 'linear.'),
    ('norm.', 'norm.'),
    ('norm.', 'update_norm.'),  # of the panoptic model
)
_LEFT_OUT = (_TEACHER, 'criterion.', 'pixel_mean', 'pixel_std', f'{_CLIP}attn_mask')
_TEXT = ('transformer.', 'token_embedding.', 'positional_embedding', 'ln_final.', 'text_projection')
_PANOPTIC_CLASSES = 133


def is_panoptic(state: State) -> bool:
    """Whether an authors' checkpoint was trained on the 133 classes of COCO panoptic.

    MAFT+'s semantic and panoptic files have tensors of the same names and shapes but for this one, yet their
    content-dependent transfer computes something else (``variant`` of the model's ``transfer``). Our names differ, so
    that a file does not fit the wrong model.

    Raises:
        WeightMismatchError: If the tensor that tells it is not there.
    """
    if _VOID_WEIGHT not in state:
        raise WeightMismatchError(
            f"the checkpoint has no '{_VOID_WEIGHT}', so it does not tell whether it is a panoptic model: say so by "
            'the option panoptic=True or False.'
        )
    return state[_VOID_WEIGHT].shape[0] == _PANOPTIC_CLASSES + 1


def is_official(state: State) -> bool:
    """Whether a state dict has the layout of the authors' files."""
    return any(k.startswith(_CLIP) for k in state) and any(k.startswith(mask2former.HEAD) for k in state)


def forward(state: State, *, teacher: bool = False, panoptic: bool | None = None) -> dict[str, Tensor]:
    """Authors' names to ours.

    Args:
        state: State dict of a whole model or of parts of one.
        teacher: Keep the image tower of the teacher, to go on with a training.
        panoptic: Whether the content-dependent transfer is the panoptic one; None: see :func:`is_panoptic`.

    Raises:
        WeightMismatchError: For names that are none of FC-CLIP's or MAFT+'s.
    """
    ours: dict[str, Tensor] = {}
    if panoptic is None:
        panoptic = any(key.startswith('cdt.') for key in state) and is_panoptic(state)
    for key, value in state.items():
        if teacher and key.startswith(f'{_TEACHER}visual.'):
            ours['teacher.' + key.removeprefix(_TEACHER)] = value
        elif not key.startswith(_LEFT_OUT):
            ours[_our_name(key, panoptic)] = value
    return ours


def _our_name(key: str, panoptic: bool) -> str:
    inner = key.removeprefix(_CLIP)
    if inner != key:
        if inner.startswith('visual.'):
            return f'backbone.tower.{inner}'
        if inner.startswith(_TEXT):
            return f'text.tower.{inner}'
        if inner == 'logit_scale':
            return 'clip_logit_scale'
    elif key.startswith(mask2former.HEAD):
        name = mask2former.to_ours(key.removeprefix(mask2former.HEAD))
        if name is not None:
            return f'head.{name}'
    elif key.startswith('cdt.'):
        inner = key.removeprefix('cdt.').removeprefix('cross_atten.')
        for theirs, own in _TRANSFER:
            if inner.startswith(theirs) and not (panoptic and own == 'norm.'):
                return f'transfer.{own}{inner.removeprefix(theirs)}'
    elif key == 'void_embedding.weight':
        return key
    raise WeightMismatchError(f"'{key}' is no name of FC-CLIP or MAFT+; is this another model's file?")


def backward(state: State, *, num_classes: int | None = None) -> dict[str, Tensor]:
    """Our names to the authors'.

    Args:
        state: State dict of one of our models; parts that theirs do not have are left out.
        num_classes: Length of the training vocabulary, to write the constant ``criterion.empty_weight`` as well.
    """
    theirs: dict[str, Tensor] = {}
    for key, value in state.items():
        name = _their_name(key)
        if name is not None:
            theirs[name] = value
    if num_classes is not None:
        weight = torch.ones(num_classes + 1, dtype=torch.float32, device='cpu')
        weight[-1] = 0.1
        theirs[_VOID_WEIGHT] = weight
    return theirs


def _their_name(key: str) -> str | None:
    part, _, inner = key.partition('.')
    if key == 'void_embedding.weight':
        return key
    if key == 'clip_logit_scale':
        return f'{_CLIP}logit_scale'
    if part == 'teacher':
        return _TEACHER + inner
    if key.startswith(('backbone.tower.visual.', 'text.tower.')):
        return _CLIP + inner.removeprefix('tower.')
    if part == 'head':
        name = mask2former.to_theirs(inner)
        return None if name is None else mask2former.HEAD + name
    for theirs, own in _TRANSFER:
        if part == 'transfer' and inner.startswith(own):
            return f'cdt.cross_atten.{theirs}{inner.removeprefix(own)}'
    return None


register('maft', Converter(forward, backward, 'FC-CLIP and MAFT+ checkpoints', wrapper='model'))
