"""Settings of an open-vocabulary model: what was given, what its preset says, or what is usual."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from denseclip.clip.presets import preset
from denseclip.models.builder import with_own_settings

OUTPUTS = ('probabilities', 'cosines')
PADDINGS = ('black', 'zero')
DEFAULTS: Mapping[str, Any] = {
    'templates': 'openai_imagenet',
    'merge': 'mean',
    'scale': 100.0,
    'output': 'probabilities',
    'padding': 'black',
    'affinity': None,
    'spread': None,
    'join': None,
    'sam': None,
    'post': {},
}
"""Settings that neither the config nor its preset gives."""


def model_settings(preset_name: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given; for the rest what the preset says; for the rest :data:`DEFAULTS`.

    Raises:
        ValueError: If a choice is unknown.
    """
    from_preset = preset(preset_name).model if preset_name is not None else {}
    chosen = {**DEFAULTS, **from_preset, **{k: v for k, v in given.items() if v is not None}}
    for name in ('affinity', 'sam'):
        chosen[name] = with_own_settings(from_preset.get(name), given.get(name))
    for name, known in (('output', OUTPUTS), ('padding', PADDINGS)):
        if chosen[name] not in known:
            raise ValueError(f"{name}='{chosen[name]}' is unknown; choose from {', '.join(known)}.")
    return chosen
