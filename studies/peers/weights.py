"""Random weights under the names that CLIP's, DINO's and CLIP-DINOiser's files have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

_SEED = 0


def clip_arch(width: int, layers: int, patch: int, embed: int) -> dict[str, Any]:
    """open_clip's settings of a CLIP of OpenAI's kind at 224 pixels, with a text tower of one block."""
    vision = dict(image_size=224, patch_size=patch, width=width, layers=layers, head_width=64)
    text = dict(context_length=77, vocab_size=49408, width=embed, heads=embed // 64, layers=1)
    return dict(embed_dim=embed, vision_cfg=vision, text_cfg=text)


def write_clip(path: Path, **sizes: int) -> Path:
    """Write such a CLIP, random, under OpenAI's names, with values that half precision holds, as OpenAI's are.

    Peers take such a file through half precision; other values would differ after it.
    """
    from denseclip.models.open_clip_parts import OpenCLIPParts

    torch.manual_seed(_SEED)
    model = OpenCLIPParts('ViT-B-16', arch=clip_arch(**sizes), quick_gelu=True).clip.model
    torch.save({k: v.half().float() for k, v in model.state_dict().items() if k != 'attn_mask'}, path)
    return path


ARCH = clip_arch(width=768, layers=12, patch=16, embed=512)
"""ViT-B/16 at full width and depth. Text is encoded once, before the clock runs, so its tower has one block."""


def write_weights(folder: Path) -> dict[str, str]:
    """Write the files that are not there yet.

    Returns:
        Path of each by its name: ``clip``, ``dino`` and ``dinoiser``.
    """
    paths = {name: folder / f'{name}.pt' for name in ('clip', 'dino', 'dinoiser')}
    if all(path.is_file() for path in paths.values()):
        return {name: str(path) for name, path in paths.items()}
    from denseclip.models.teachers import DINOTower
    from denseclip.weights.convert import convert

    folder.mkdir(parents=True, exist_ok=True)
    write_clip(paths['clip'], width=768, layers=12, patch=16, embed=512)
    dino = DINOTower('vit_base_patch8_224').vit
    states = {'dino': convert(dino.state_dict(), 'dino', inverse=True)}
    for value in states['dino'].values():
        torch.nn.init.normal_(value, std=0.03)
    states['dinoiser'] = {
        'obj_proj.weight': torch.randn(256, 768, 3, 3) * 0.02,
        'obj_proj.bias': torch.zeros(256),
        'bkg_decoder.weight': torch.randn(1, 768, 1, 1),
        'bkg_decoder.bias': torch.zeros(1),
    }
    for name, state in states.items():
        torch.save({k: v.detach().clone() for k, v in state.items()}, paths[name])
    return {name: str(path) for name, path in paths.items()}
