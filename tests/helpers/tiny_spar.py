"""A small SPAR model, quick enough to run in a test."""

from __future__ import annotations

from typing import Any

from mmengine.registry import init_default_scope
from tiny_dinoiser import CLASSES, CLIP

from denseclip.models.builder import build_module


def tiny_spar(preset: str = 'maskclip', **overrides: Any) -> Any:
    """Patches of 8, windows of 32 every 12 pixels; other arguments of the model as ``overrides``."""
    init_default_scope('mmseg')
    clip = dict(**CLIP, preset=preset)
    config = dict(type='SPAR', clip=clip, window=32, stride=12, window_batch=6, vocabulary=CLASSES, templates='photo')
    return build_module({**config, **overrides})
