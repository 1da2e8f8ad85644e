"""What a config's ``pretrained`` means for one half of a CLIP model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from torch import Tensor

from denseclip.weights import resolve, weight_file

if TYPE_CHECKING:  # models with another backbone and other words need no CLIP
    from denseclip.clip.file_settings import FileSettings
    from denseclip.clip.preprocess import PreprocessSpec

Pretrained: TypeAlias = str | Mapping[str, Any]
"""A source as ``denseclip.weights.resolve`` knows it (an OpenAI archive, a safetensors file, ``hf-hub:``,
``local-dir:``), one of open_clip's tags, or a dict with ``source`` (one of these), ``trust``, ``tag``: the tag that a
file is of, and ``base``: the tag or file of a whole CLIP that a file with a part of one is laid over."""


def spec_of(pretrained: Pretrained) -> dict[str, Any]:
    """The long form of a source: ``source``, and ``trust`` if it was given."""
    return dict(pretrained) if isinstance(pretrained, Mapping) else {'source': pretrained}


def tag_config(pretrained: Pretrained | None, model: str) -> dict[str, Any]:
    """open_clip's entry of a tag (activation, mean, std ...); empty when ``pretrained`` is no tag of ``model``."""
    from open_clip.pretrained import get_pretrained_cfg

    source = None if pretrained is None else spec_of(pretrained)['source']
    return dict(get_pretrained_cfg(model, source) or {}) if isinstance(source, str) else {}


def settings_of(
    pretrained: Pretrained | None, model: str, *, quick_gelu: bool | None = None, default: bool | None = None
) -> FileSettings:
    """Activation and normalisation of weights, see :func:`denseclip.clip.file_settings.file_settings`.

    Args:
        pretrained: The weights; None for fresh ones.
        model: open_clip architecture.
        quick_gelu: The activation, if the config says it.
        default: The activation of files that do not say it; None is the architecture's own.
    """
    import open_clip

    from denseclip.clip.file_settings import file_settings

    spec = {} if pretrained is None else spec_of(pretrained)
    tag = model_tag(pretrained, model) or spec.get('tag')
    if default is None:
        default = bool((open_clip.get_model_config(model) or {}).get('quick_gelu', False))
    return file_settings(spec.get('source'), [model], tag=tag, quick_gelu=quick_gelu, default=default)


def model_tag(pretrained: Pretrained | None, model: str) -> str | None:
    """``pretrained`` if it is a tag of the architecture."""
    source = None if pretrained is None else spec_of(pretrained)['source']
    return source if isinstance(source, str) and tag_config(source, model) else None


def quick_gelu_of(pretrained: Pretrained | None, model: str) -> bool:
    """Whether weights were trained with OpenAI's activation.

    Fresh weights have it, and so have files that say nothing, where the architecture is one that OpenAI made.
    """
    import open_clip

    twin = f'{model}-quickgelu' in open_clip.list_models()
    return settings_of(pretrained, model, default=True if twin or pretrained is None else None).quick_gelu


def preprocess_of(pretrained: Pretrained | None, model: str) -> PreprocessSpec:
    """Normalisation that weights expect."""
    from denseclip.clip.preprocess import PreprocessSpec

    quick_gelu = quick_gelu_of(pretrained, model)
    return PreprocessSpec.of(settings_of(pretrained, model, quick_gelu=quick_gelu).preprocess)


def clip_state(pretrained: Pretrained, model: str) -> dict[str, Tensor]:
    """Read the weights of a whole CLIP model.

    Args:
        pretrained: see :data:`Pretrained`.
        model: open_clip architecture that a tag refers to.

    Returns:
        State dict under OpenAI's or open_clip's names.
    """
    from denseclip.clip.loading import base_state, laid_over, load_clip, read_clip

    spec = spec_of(pretrained)
    trust = spec.get('trust', False)
    if tag_config(pretrained, model):
        return load_clip(model, spec['source'], trust=trust).model.state_dict()
    state = read_clip(weight_file(resolve(spec['source'])), trust=trust).state_dict
    if spec.get('base') is None:
        return state
    return laid_over(state, base_state(model, spec['base'], trust=trust), str(spec['source']))
