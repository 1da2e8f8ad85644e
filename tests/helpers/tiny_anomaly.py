"""Small anomaly models and pictures, quick enough to run in a test."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor

from denseclip.clip.loading import LoadedCLIP, build_clip
from denseclip.clip.preprocess import PreprocessSpec
from denseclip.structures import AnomalyDataSample

SIDE, PATCH = 32, 8
PROMPTS = dict(base='anovl', frames=['a photo of a {}', 'a dark {domain} of the {}'])
VISION = dict(image_size=SIDE, patch_size=PATCH, width=16, head_width=8, layers=3, mlp_ratio=2.0)
TEXT = dict(context_length=20, vocab_size=600, width=8, heads=2, layers=1)


class LetterTokenizer:
    """One token per letter and a few for the rest: no file, no download."""

    pad_id = 0
    identity = 'letters'

    def __call__(self, text: str) -> list[int]:
        words = [1 + sum(ord(c) * (i + 3) for i, c in enumerate(word)) % 500 for word in text.split()]
        return [598, *words, 599]

    def shorten(self, ids: list[int], length: int) -> list[int]:
        return [*ids[: length - 1], ids[-1]]


def tiny_clip(seed: int = 0, embed_dim: int = 8, **vision: Any) -> LoadedCLIP:
    """A CLIP with random weights; further arguments change its image tower."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = dict(embed_dim=embed_dim, vision_cfg={**VISION, **vision}, text_cfg=TEXT)
        model = build_clip(config).eval()
    spec = PreprocessSpec(size=(config['vision_cfg']['image_size'],) * 2)
    loaded = LoadedCLIP(model, spec, 'tiny', config)
    loaded.tokenizer = LetterTokenizer()
    return loaded


def tiny_model(kind: str = 'AnoVL', clip: LoadedCLIP | None = None, **overrides: Any) -> Any:
    """A small anomaly model that looks at bottles."""
    layers = dict(layers=(1, 3)) if kind == 'AprilGAN' else {}
    settings = {**dict(prompts=PROMPTS, object_name='bottle'), **layers, **overrides}
    return MODELS.build(dict(type=kind, clip=clip or tiny_clip(), **settings)).eval()


def pictures(count: int, height: int = SIDE, width: int = SIDE, seed: int = 0) -> Tensor:
    """Normalised pictures of noise, each with a bright spot."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, height, width, generator=generator)
    images[:, :, height // 4 : height // 2, width // 4 : width // 2] += 2
    return images


def sample(**meta: Any) -> AnomalyDataSample:
    """A data sample with metainfo."""
    return AnomalyDataSample(metainfo=meta)
