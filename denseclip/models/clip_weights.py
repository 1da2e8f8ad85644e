"""State dict of a pretrained CLIP, from whatever a config names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from open_clip import list_pretrained_tags_by_model
from torch import Tensor

from denseclip.weights import read_state_dict, resolve, weight_file


def clip_state(pretrained: str | Mapping[str, Any], model: str | None = None) -> dict[str, Tensor]:
    """Read the weights of a whole CLIP model.

    Args:
        pretrained: a source as ``denseclip.weights.resolve`` knows it (an OpenAI archive, a safetensors file,
            ``hf-hub:``, ``local-dir:``), one of open_clip's tags for ``model``, or a dict with ``source`` (one of these),
            ``model`` and ``trust``.
        model: open_clip architecture that a tag refers to.

    Returns:
        State dict under OpenAI's or open_clip's names.
    """
    spec = {'source': pretrained} if isinstance(pretrained, str) else dict(pretrained)
    source, model, trust = spec['source'], spec.get('model', model), spec.get('trust', False)
    if model is not None and source in list_pretrained_tags_by_model(model):
        from denseclip.clip.loading import load_clip  # only needed for tags; builds the whole model

        return load_clip(model, source, trust=trust).model.state_dict()
    return read_state_dict(weight_file(resolve(source)), trust=trust)
