"""DINO's vision transformers (github.com/facebookresearch/dino) and FOUND's decoder (github.com/valeoai/FOUND).

timm names the tensors of a vision transformer as DINO's authors do. Their files differ in what surrounds the backbone:
``dino_*_pretrain.pth`` holds it alone, a full checkpoint holds ``student`` and ``teacher`` (the one to use) with the
prefixes ``module.`` and ``backbone.`` and a projection head. DINOv2's files (github.com/facebookresearch/dinov2) have a
mask token, perhaps registers (``register_tokens``; timm adds the class token's position in advance then), and a gated
feed-forward part under other names. DINOv3's (github.com/facebookresearch/dinov3) have ``storage_tokens``, no positions
but the periods of rotary ones, scales under other names, and biases whose middle third is masked. FOUND's
``decoder_weights.pt`` is ``{"decoder": {"weight": (1, C, 1, 1), "bias": (1,)}}``; a checkpoint of its own training also
has the encoder.
"""

from __future__ import annotations

from torch import Tensor

from ..errors import WeightMismatchError
from ..io import strip_prefix
from .registry import Converter, State, register

_HEADS = ('head.', 'fc.')


def dino_forward(state: State) -> dict[str, Tensor]:
    """The backbone of a DINO file under timm's names.

    Args:
        state: State dict of ``dino_*_pretrain.pth``, of a full checkpoint's ``teacher``, or of a timm model.

    Raises:
        WeightMismatchError: If it is no vision transformer.
    """
    for prefix in ('module.', 'backbone.', 'vit.'):
        inner = strip_prefix(state, prefix)
        if 'cls_token' not in state and inner:
            state = inner
    kept = {key: value for key, value in state.items() if not key.startswith(_HEADS) and key != 'mask_token'}
    if 'cls_token' not in kept or not {'pos_embed', 'reg_token', 'storage_tokens'} & set(kept):
        raise WeightMismatchError(
            f'no DINO vision transformer: it has no cls_token and pos_embed but {", ".join(list(state)[:5])} ...'
        )
    if 'storage_tokens' in kept:
        return _dinov3(kept)
    if 'register_tokens' in kept:
        positions = kept['pos_embed']
        kept['reg_token'] = kept.pop('register_tokens')
        kept['cls_token'] = kept['cls_token'] + positions[:, :1]
        kept['pos_embed'] = positions[:, 1:]
    return {key.replace('.mlp.w12.', '.mlp.fc1.').replace('.mlp.w3.', '.mlp.fc2.'): v for key, v in kept.items()}


_DINOV3 = (
    ('storage_tokens', 'reg_token'),
    ('.ls1.gamma', '.gamma_1'),
    ('.ls2.gamma', '.gamma_2'),
    ('.mlp.w1.', '.mlp.fc1_g.'),  # gate, value and output of the models with SwiGLU
    ('.mlp.w2.', '.mlp.fc1_x.'),
    ('.mlp.w3.', '.mlp.fc2.'),
)


def _dinov3(state: State) -> dict[str, Tensor]:
    """DINOv3's names to timm's; queries' and values' biases apart, those of keys are masked."""
    found = {}
    for key, value in state.items():
        if key.endswith(('.periods', '.bias_mask')) or key.startswith('local_cls_norm'):
            continue
        if key.endswith('.qkv.bias'):
            block = key.removesuffix('qkv.bias')
            found[f'{block}q_bias'], _, found[f'{block}v_bias'] = value.chunk(3)
            continue
        for theirs, ours in _DINOV3:
            key = key.replace(theirs, ours)
        found[key] = value
    return found


def dino_backward(state: State) -> dict[str, Tensor]:
    """The names of timm to those of ``dino_*_pretrain.pth``, which are the same."""
    return dict(state)


def found_forward(state: State) -> dict[str, Tensor]:
    """FOUND's 1x1 convolution as ``weight`` and ``bias``.

    Args:
        state: Content of ``decoder_weights.pt``, or of any file that has ``decoder.weight`` and ``decoder.bias``.

    Raises:
        WeightMismatchError: If these two are not there.
    """
    decoder = strip_prefix(state, 'decoder.') or dict(state)
    if set(decoder) != {'weight', 'bias'} or decoder['weight'].ndim != 4 or decoder['weight'].shape[0] != 1:
        raise WeightMismatchError(
            f'no FOUND decoder: a weight (1, C, 1, 1) and a bias (1,) are wanted, found {", ".join(list(decoder)[:5])}.'
        )
    return decoder


def found_backward(state: State) -> dict[str, Tensor]:
    """What stands under ``"decoder"`` in ``decoder_weights.pt``."""
    return found_forward(state)


register('dino', Converter(dino_forward, dino_backward, "DINO's vision transformers (and timm's) to DINOTower.vit"))
register(
    'found',
    Converter(found_forward, found_backward, "FOUND's decoder_weights.pt to FOUNDTeacher.decoder", wrapper='decoder'),
)
