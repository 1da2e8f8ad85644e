"""A small CLIP in a folder, of which only the text tower is wanted."""

from __future__ import annotations

from pathlib import Path

import torch

from denseclip.clip.loading import LoadedCLIP, build_clip
from denseclip.clip.preprocess import PreprocessSpec
from denseclip.clip.writing import write_clip_folder


def tiny_text_clip(folder: Path, embed_dim: int = 24) -> LoadedCLIP:
    """Write a CLIP with random weights, and return it.

    Args:
        folder: Is made.
        embed_dim: Size of its embeddings.
    """
    torch.manual_seed(3)
    config = dict(
        embed_dim=embed_dim,
        quick_gelu=True,
        vision_cfg=dict(image_size=16, patch_size=8, width=16, layers=1, head_width=8),
        text_cfg=dict(width=16, heads=2, layers=1),
    )
    loaded = LoadedCLIP(build_clip(config).eval(), PreprocessSpec(size=(16, 16)), 'tiny', config)
    folder.mkdir()
    write_clip_folder(loaded, folder, half=False)
    return loaded
