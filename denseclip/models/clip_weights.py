"""What a config's ``pretrained`` means for one half of a CLIP model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from open_clip.pretrained import get_pretrained_cfg
from torch import Tensor

from denseclip.clip.loading import load_clip
from denseclip.clip.preprocess import PreprocessSpec
from denseclip.weights import read_state_dict, resolve, weight_file

Pretrained: TypeAlias = str | Mapping[str, Any]
"""A source as ``denseclip.weights.resolve`` knows it (an OpenAI archive, a safetensors file, ``hf-hub:``,
``local-dir:``), one of open_clip's tags, or a dict with ``source`` (one of these) and ``trust``."""


def spec_of(pretrained: Pretrained) -> dict[str, Any]:
    """The long form of a source: ``source``, and ``trust`` if it was given."""
    return dict(pretrained) if isinstance(pretrained, Mapping) else {'source': pretrained}


def tag_config(pretrained: Pretrained | None, model: str) -> dict[str, Any]:
    """open_clip's entry of a tag (activation, mean, std ...); empty when ``pretrained`` is no tag of ``model``."""
    source = None if pretrained is None else spec_of(pretrained)['source']
    return dict(get_pretrained_cfg(model, source) or {}) if isinstance(source, str) else {}


def quick_gelu_of(pretrained: Pretrained | None, model: str) -> bool:
    """Whether weights were trained with OpenAI's activation: what the tag says, True for files and fresh weights."""
    tag = tag_config(pretrained, model)
    return bool(tag.get('quick_gelu', False)) if tag else True


def preprocess_of(pretrained: Pretrained | None, model: str) -> PreprocessSpec:
    """Normalisation that weights expect: what the tag says, OpenAI's for files and fresh weights."""
    return PreprocessSpec.of(tag_config(pretrained, model))


def clip_state(pretrained: Pretrained, model: str) -> dict[str, Tensor]:
    """Read the weights of a whole CLIP model.

    Args:
        pretrained: see :data:`Pretrained`.
        model: open_clip architecture that a tag refers to.

    Returns:
        State dict under OpenAI's or open_clip's names.
    """
    spec = spec_of(pretrained)
    trust = spec.get('trust', False)
    if tag_config(pretrained, model):
        return load_clip(model, spec['source'], trust=trust).model.state_dict()
    return read_state_dict(weight_file(resolve(spec['source'])), trust=trust)
