"""CLIPs whose image tower is timm's ViT with a projection beside it: SLIP, LaCLIP, A-CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from open_clip.constants import IMAGENET_MEAN, IMAGENET_STD
from torch import Tensor, nn

from denseclip.weights import WeightMismatchError

from .architecture import text_config

LOOKS = {'mean': IMAGENET_MEAN, 'std': IMAGENET_STD, 'interpolation': 'bilinear', 'resize_mode': 'shortest'}
"""How all of the family prepare pictures."""
QUICK_GELU = True  # of the text tower; timm's own activation is the exact one
_HEADS = {384: 12, 768: 12, 1024: 16}
"""Heads by width, where norms of queries do not tell: those of SLIP's models, whose small one has twice timm's."""
SMALLEST_TRUNK = 'vit_tiny_patch16_224'


def slip_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """open_clip configuration of a file of the family; ``vision_cfg.timm_kwargs`` are the trunk's own sizes.

    Args:
        state: Names as the converter ``clip_family`` gives them.

    Raises:
        WeightMismatchError: If the number of heads cannot be told.
    """
    trunk = 'visual.trunk.'
    width, _, patch, _ = state[f'{trunk}patch_embed.proj.weight'].shape
    norm = state.get(f'{trunk}blocks.0.attn.q_norm.weight')
    heads = _HEADS.get(width) if norm is None else width // norm.shape[0]
    if heads is None:
        raise WeightMismatchError(f'no model of SLIP has an image tower of width {width}, so its heads are not known.')
    side = patch * round((state[f'{trunk}pos_embed'].shape[1] - 1) ** 0.5)
    depth = len({name.split('.')[3] for name in state if name.startswith(f'{trunk}blocks.')})
    hidden = state[f'{trunk}blocks.0.mlp.fc1.weight'].shape[0]
    sizes = dict(img_size=side, patch_size=patch, embed_dim=width, depth=depth, num_heads=heads)
    vision = {
        'timm_model_name': SMALLEST_TRUNK,
        'timm_pool': 'token',
        'timm_proj': 'linear',
        'image_size': side,
        'timm_kwargs': {**sizes, 'mlp_ratio': hidden / width, 'qk_norm': norm is not None},
    }
    return {
        'embed_dim': state['text_projection'].shape[1],
        'quick_gelu': QUICK_GELU,
        'vision_cfg': vision,
        'text_cfg': text_config(state),
    }


def resize_trunk(clip: nn.Module, vision: Mapping[str, Any], kwargs: Mapping[str, Any], embed_dim: int) -> None:
    """Give a CLIP around a trunk of timm a trunk of other sizes, with fresh weights.

    Args:
        clip: Of open_clip.
        vision: Its ``vision_cfg``, which names the trunk and its pool.
        kwargs: Arguments of the trunk.
        embed_dim: Size of the joint space.
    """
    import timm

    visual: Any = clip.visual
    pool = vision.get('timm_pool', 'token')
    visual.trunk = timm.create_model(
        vision['timm_model_name'], pretrained=False, num_classes=0, global_pool=pool, **kwargs
    )
    if hasattr(visual.head, 'proj'):
        visual.head.proj = nn.Linear(visual.trunk.num_features, embed_dim, bias=visual.head.proj.bias is not None)
