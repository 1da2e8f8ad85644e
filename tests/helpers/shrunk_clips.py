"""open_clip's architectures with fewer layers and channels: the same kinds of modules, quick to build and to run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import timm
import torch
from open_clip.timm_model import TimmModel
from timm.models.vitamin import VitCfg, VitConvCfg
from torch import nn

_TRANSFORMER = {'depth': 2, 'embed_dim': 32, 'num_heads': 2}
_VITAMIN = VitCfg((8, 16, 32), (1, 1, 1), 8, VitConvCfg(norm_layer='layernorm2d', norm_eps=1e-6), '1d')
_SHRUNK: dict[str, dict[str, Any]] = {
    'convnext': {'depths': (1, 1, 1, 1), 'dims': (8, 16, 24, 32)},
    'fastvit_mci0': {'layers': (1, 1, 1, 1), 'embed_dims': (16, 32, 32, 64)},
    'fastvit_mci1': {'layers': (1, 1, 1, 1), 'embed_dims': (16, 32, 32, 64)},
    'fastvit_mci2': {'layers': (1, 1, 1, 1), 'embed_dims': (16, 32, 32, 64)},
    'fastvit_mci': {'layers': (1, 1, 1, 1, 1), 'embed_dims': (16, 32, 32, 32, 64)},
    'swin': {'depths': (2, 1, 1, 1), 'embed_dim': 16, 'num_heads': (1, 2, 2, 4)},
    'vitamin': {**_TRANSFORMER, 'embed_cfg': _VITAMIN},
    'vit_base_mci': {'depth': 1},  # timm fixes the width of its stem
    'vit_pe_core': {**_TRANSFORMER, 'attn_pool_num_heads': 4},
    'vit': _TRANSFORMER,
    'eva': _TRANSFORMER,
}


def shrunk_arguments(trunk: str) -> dict[str, Any]:
    """Arguments of ``timm.create_model`` that make a trunk small; the longest fitting prefix of its name decides."""
    return _SHRUNK[max((name for name in _SHRUNK if trunk.startswith(name)), key=len)]


@contextlib.contextmanager
def shrunk_trunks(**changes: Any) -> Iterator[None]:
    """While this is open, timm makes small trunks."""
    create = timm.create_model

    def create_small(name: str, **kwargs: Any) -> nn.Module:
        return create(name, **{**kwargs, **shrunk_arguments(name), **changes})

    with patch.object(timm, 'create_model', create_small):
        yield


def shake(module: nn.Module) -> nn.Module:
    """Move all weights a little: norms and scales start at 0 or 1, which would hide mistakes."""
    for parameter in module.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


def tiny_timm(trunk: str, pool: str, proj: str | None, embed_dim: int = 16, **changes: Any) -> TimmModel:
    """An open_clip image tower around a small trunk with random weights."""
    torch.manual_seed(0)
    with shrunk_trunks(**changes):
        visual = TimmModel(trunk, embed_dim=embed_dim, pool=pool, proj=proj, pretrained=False)
    return shake(visual)
