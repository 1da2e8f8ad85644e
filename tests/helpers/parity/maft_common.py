"""What the checks of FC-CLIP and MAFT+ share: vocabularies, tiny CLIP models and their weights."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import timm
from timm.models import register_model
from timm.models.convnext import ConvNeXt
from torch import Tensor

from denseclip.clip.vocabulary import Vocabulary
from denseclip.models.open_clip_parts import OpenCLIPParts

from .fixtures import Fixture


def synonyms(classes: Sequence[str]) -> Vocabulary:
    """Classes written as the authors do: names separated by commas."""
    names = [[name.strip() for name in entry.split(',')] for entry in classes]
    return Vocabulary.from_names([(first, rest) for first, *rest in names])


def text_state(fixture: Fixture, prefix: str = '') -> dict[str, Tensor]:
    """The text half of a stored CLIP, under open_clip's names."""
    state = {k.removeprefix(prefix): v for k, v in fixture.state().items() if k.startswith(prefix)}
    return {k: v for k, v in state.items() if not k.startswith(('visual.', 'logit_scale'))}


def timm_name(dims: Sequence[int], depths: Sequence[int]) -> str:
    """Name under which timm builds a ConvNeXt of these sizes."""
    name = f'fixture_convnext_{"_".join(map(str, [*dims, *depths]))}'
    if name not in timm.list_models():

        def build(pretrained: bool = False, pretrained_cfg: Any = None, **kwargs: Any) -> ConvNeXt:
            del pretrained, pretrained_cfg
            kwargs.pop('pretrained_cfg_overlay', None)
            kwargs.pop('cache_dir', None)
            model = ConvNeXt(dims=tuple(dims), depths=tuple(depths), **kwargs)
            model.default_cfg = model.pretrained_cfg = {'pool_size': (7, 7)}
            return model

        build.__name__ = name
        build.__module__ = __name__
        setattr(sys.modules[__name__], name, build)
        register_model(build)
    return name


def clip_parts(config: dict[str, Any], vocab_size: int = 64, drop_path: float = 0.0) -> OpenCLIPParts:
    """A CLIP with a ConvNeXt trunk of the sizes in a manifest, with fresh weights."""
    vision = dict(
        timm_model_name=timm_name(config['dims'], config['depths']), timm_proj=config['proj'], timm_drop_path=drop_path
    )
    text = dict(
        context_length=config.get('ctx', 16),
        vocab_size=vocab_size,
        width=config.get('width', 32),
        heads=config.get('heads', 4),
        layers=config.get('layers', 1),
    )
    arch = dict(embed_dim=config['embed_dim'], vision_cfg=vision, text_cfg=text)
    return OpenCLIPParts('convnext_base_w', arch=arch, quick_gelu=False)
