"""The CLIP of an anomaly model, from whatever a config or a caller gives."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import open_clip

from denseclip.clip.loading import LoadedCLIP, build_clip, load_clip
from denseclip.clip.preprocess import PreprocessSpec
from denseclip.weights.source import SCHEMES


def load_parts(clip: Mapping[str, Any] | LoadedCLIP) -> LoadedCLIP:
    """A CLIP with its preprocessing and tokenizer.

    Args:
        clip: A loaded CLIP; arguments of :func:`denseclip.clip.load_clip`; or ``dict(config=...)`` with an open_clip
            configuration (``embed_dim``, ``vision_cfg``, ``text_cfg``) for fresh weights of any architecture.

    Raises:
        TypeError: If it is something else.
    """
    if isinstance(clip, LoadedCLIP):
        return clip
    if not isinstance(clip, Mapping):
        raise TypeError(f'clip must be a loaded CLIP or a dict with model and pretrained, got {type(clip).__name__}.')
    arguments = dict(clip)
    config = arguments.pop('config', None)
    if config is None:
        with warnings.catch_warnings():
            if arguments.get('pretrained') is None:  # asked for in so many words
                warnings.filterwarnings('ignore', message='.*has random weights.*')
            return load_clip(**arguments)
    if arguments:
        raise TypeError(f'clip: config goes alone, drop {", ".join(arguments)}.')
    config = {key: dict(value) if isinstance(value, Mapping) else value for key, value in config.items()}
    model = build_clip(config).eval()
    spec = PreprocessSpec.of({}, size=getattr(model.visual, 'image_size', None))
    return LoadedCLIP(model, spec, 'own configuration', config)


def is_fresh(clip: Mapping[str, Any] | LoadedCLIP) -> bool:
    """Whether :func:`load_parts` makes fresh weights for this."""
    if not isinstance(clip, Mapping):
        return False
    model = str(clip.get('model', ''))
    if 'config' in clip or clip.get('pretrained') is not None or model.startswith(SCHEMES):
        return 'config' in clip
    return open_clip.get_model_config(model.replace('/', '-')) is not None
