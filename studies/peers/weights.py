"""Random weights under the names that CLIP's, DINO's and CLIP-DINOiser's files have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

VISION = dict(image_size=224, patch_size=16, width=768, layers=12, head_width=64)
TEXT = dict(context_length=77, vocab_size=49408, width=512, heads=8, layers=1)
ARCH: dict[str, Any] = dict(embed_dim=512, vision_cfg=VISION, text_cfg=TEXT)
"""ViT-B/16 at full width and depth. Text is encoded once, before the clock runs, so its tower has one block."""
_SEED = 0


def write_weights(folder: Path) -> dict[str, str]:
    """Write the files that are not there yet.

    Returns:
        Path of each by its name: ``clip``, ``dino`` and ``dinoiser``.
    """
    from denseclip.models.open_clip_parts import OpenCLIPParts
    from denseclip.models.teachers import DINOTower
    from denseclip.weights.convert import convert

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(_SEED)
    model = OpenCLIPParts('ViT-B-16', arch=ARCH, quick_gelu=True).clip.model
    states = {'clip': {k: v for k, v in model.state_dict().items() if k != 'attn_mask'}}
    dino = DINOTower('vit_base_patch8_224').vit
    states['dino'] = convert(dino.state_dict(), 'dino', inverse=True)
    for value in states['dino'].values():
        torch.nn.init.normal_(value, std=0.03)
    states['dinoiser'] = {
        'obj_proj.weight': torch.randn(256, 768, 3, 3) * 0.02,
        'obj_proj.bias': torch.zeros(256),
        'bkg_decoder.weight': torch.randn(1, 768, 1, 1),
        'bkg_decoder.bias': torch.zeros(1),
    }
    paths = {name: folder / f'{name}.pt' for name in states}
    for name, path in paths.items():
        if not path.is_file():
            torch.save({k: v.detach().clone() for k, v in states[name].items()}, path)
    return {name: str(path) for name, path in paths.items()}
