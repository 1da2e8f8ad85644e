"""Checkpoints of FC-CLIP and MAFT+, with a Mask-Adapter or refined by OVRCOAT (detectron2's layout), to ours and back.

========================================  =========================================================
theirs                                    ours
========================================  =========================================================
``backbone.clip_model.visual.*``          ``backbone.tower.visual.*``
``backbone.clip_model.logit_scale``       ``clip_logit_scale``
``backbone.clip_model.*`` (text)          ``text.tower.*``
``sem_seg_head.*``                        ``head.*``, see :mod:`.mask2former`
``cdt.cross_atten.*``                     ``transfer.*``
``mask_adapter.*``                        ``adapter.*``
``void_embedding.weight``                 the same
``backbone_t.clip_model.visual.*``        ``teacher.visual.*``, left out unless asked for: it is the original CLIP
``frozen_backbone.*``                     left out: OVRCOAT's copy of the original CLIP
``criterion.empty_weight``                left out: a constant, but its length is that of the training vocabulary
========================================  =========================================================

The files hold ``{"model": ...}``, with the state of the training beside it, or the tensors alone.
"""

from __future__ import annotations

from collections.abc import Iterable

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
_ADAPTER_PREFIX = 'mask_adapter.'
_ADAPTER = (
    ('fuse.', 'fuse.'),
    ('norm.', 'norm.'),
    ('final.', 'to_maps.'),
    ('mask_downscaling.', 'mask_encoder.'),
    *(
        (f'cnext{block + 1}.{theirs}', f'blocks.{block}.{own}')
        for block in range(3)
        for theirs, own in (
            ('dwconv.', 'conv_dw.'),
            ('norm.', 'norm.'),
            ('pwconv1.', 'mlp.fc1.'),
            ('pwconv2.', 'mlp.fc2.'),
            ('gamma', 'gamma'),
        )
    ),
)
_LEFT_OUT = (_TEACHER, 'frozen_backbone.', 'criterion.', 'pixel_mean', 'pixel_std', f'{_CLIP}attn_mask')
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
    if any(key.startswith(_ADAPTER_PREFIX) for key in state):
        return False  # Mask-Adapter was trained on the semantic models alone, and its files lack that tensor
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
    name = None
    if key.startswith(_CLIP):
        name = _our_clip_name(key.removeprefix(_CLIP))
    elif key.startswith(mask2former.HEAD):
        inner = mask2former.to_ours(key.removeprefix(mask2former.HEAD))
        name = None if inner is None else f'head.{inner}'
    elif key.startswith('cdt.'):
        # The panoptic model's norm comes second in the table.
        table = [pair for pair in _TRANSFER if not (panoptic and pair[1] == 'norm.')]
        name = _swap(key.removeprefix('cdt.').removeprefix('cross_atten.'), table, 'transfer.')
    elif key.startswith(_ADAPTER_PREFIX):
        name = _swap(key.removeprefix(_ADAPTER_PREFIX), _ADAPTER, 'adapter.')
    elif key == 'void_embedding.weight':
        name = key
    if name is None:
        raise WeightMismatchError(
            f"'{key}' is no name of FC-CLIP, MAFT+ or Mask-Adapter; is this another model's file?"
        )
    return name


def _our_clip_name(inner: str) -> str | None:
    if inner.startswith('visual.'):
        return f'backbone.tower.{inner}'
    if inner.startswith(_TEXT):
        return f'text.tower.{inner}'
    return 'clip_logit_scale' if inner == 'logit_scale' else None


def _swap(inner: str, table: Iterable[tuple[str, str]], place: str) -> str | None:
    """A name by the first pair of the table that fits, under ``place``."""
    for source, wanted in table:
        if inner.startswith(source):
            return f'{place}{wanted}{inner.removeprefix(source)}'
    return None


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
    for place, table, theirs in (('adapter', _ADAPTER, _ADAPTER_PREFIX), ('transfer', _TRANSFER, 'cdt.cross_atten.')):
        if part == place:
            return _swap(inner, [(own, other) for other, own in table], theirs)
    return None


register('maft', Converter(forward, backward, 'FC-CLIP and MAFT+ checkpoints', wrapper='model'))
