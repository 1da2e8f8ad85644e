"""Picture sizes of timm's networks: made flexible where timm can, one sentence with the cure where it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FLEXIBLE = 'dynamic_img_size'


def create_flexible(model_name: str, **kwargs: Any) -> nn.Module:
    """A timm model that takes pictures of any size, as far as timm can make one of this kind.

    Vision transformers then fit their positions to the picture, and Swin makes the masks of its windows for it. At the
    model's own size nothing changes.

    Args:
        model_name: timm architecture.
        kwargs: Arguments of ``timm.create_model``; they win over what is set here.
    """
    if _FLEXIBLE not in kwargs:
        try:
            flexible: dict[str, Any] = {_FLEXIBLE: True, **kwargs}
            return timm.create_model(model_name, pretrained=False, **flexible)
        except TypeError as error:  # most models have no such argument, and need none
            if _FLEXIBLE not in str(error):
                raise
    return timm.create_model(model_name, pretrained=False, **kwargs)


def built_for(trunk: Any) -> tuple[int, int] | None:
    """Height and width of the pictures that a model was built for, if timm says that it was built for one size."""
    config = trunk.pretrained_cfg or {}
    if not config.get('fixed_input_size', False):
        return None
    size = getattr(getattr(trunk, 'patch_embed', None), 'img_size', None) or config['input_size'][-2:]
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def pad_to_patches(trunk: Any, x: Tensor) -> Tensor:
    """Pictures filled up with zeros, right and bottom, to whole patches of a transformer; others as they are."""
    embed = getattr(trunk, 'patch_embed', None)
    if not getattr(trunk, _FLEXIBLE, False) or embed is None:
        return x
    patch = [p * r for p, r in zip(embed.patch_size, getattr(embed, 'feature_ratio', (1, 1)), strict=True)]
    return F.pad(x, (0, -x.shape[3] % patch[1], 0, -x.shape[2] % patch[0]))


def size_error(trunk: Any, name: str, options: Mapping[str, Any], x: Tensor, deepest: int) -> ValueError | None:
    """What to tell somebody whose pictures a model could not read; None if their size is not the reason.

    Args:
        trunk: The model, and
        name: its timm architecture, and
        options: the arguments that it was made with.
        x: The pictures (N, 3, H, W).
        deepest: Stride of the coarsest level asked for.
    """
    size, own = (int(x.shape[2]), int(x.shape[3])), built_for(trunk)
    if own is not None and size != own:
        cure = f'resize or pad all pictures to {own[0]}x{own[1]}'
        if _reads(name, size, {**options, 'img_size': size}):
            cure = f'set img_size={size} in this TimmTrunk and keep all pictures at that size'
        return ValueError(
            f'TimmTrunk "{name}" was built for pictures of {own[0]}x{own[1]} and cannot read {size[0]}x{size[1]}: '
            f'{cure}, or take another trunk.'
        )
    if own is None and any(side % deepest for side in size):
        return ValueError(
            f'TimmTrunk "{name}" cannot read pictures of {size[0]}x{size[1]}: give sides that are multiples of '
            f'{deepest} (size_divisor={deepest} in the data preprocessor; pad_size_divisor for detectors).'
        )
    return None


def _reads(name: str, size: tuple[int, int], options: Mapping[str, Any]) -> bool:
    """Whether timm can make a model with these arguments that reads pictures of a size; nothing is computed."""
    try:
        with torch.device('meta'), torch.no_grad():
            model: Any = timm.create_model(name, pretrained=False, **options).eval()
            model.forward_features(torch.empty(1, 3, *size))
    except (TypeError, ValueError, AssertionError, RuntimeError, NotImplementedError, IndexError):
        return False
    return True
