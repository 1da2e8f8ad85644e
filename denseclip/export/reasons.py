"""Why models cannot be exported, in words; nothing heavy is imported here, so that lists of models can say it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

PRE_PROMPTING = (
    'with prompting="pre" the text tower runs for every picture; its words would have to be part of the graph.'
)
UNKNOWN = 'it has not been made into a graph yet.'
_PICTURES = 'it compares pictures with pictures, which the runtime does not keep.'
_TRAINING = 'it exists for training and gives no results.'
_TURNS = 'it runs another model on several copies of a picture; export that model.'

REASONS: Mapping[str, str] = MappingProxyType(
    {
        'ResCLIPSegmentor': 'its walks between patches have as many steps as the picture has patches, and a graph has '
        'a number of steps that does not change.',
        'PMPMask2Former': 'its classes are those of its head, and its queries listen to other words; not made into a '
        'graph yet.',
        'TwoStageSegmentor': 'its masks come from another program, which the runtime does not run.',
        'SAM3Segmentor': 'transformers runs it, phrase by phrase; it has not been made into a graph here.',
        'ReferenceInspector': _PICTURES,
        'BatchInspector': _PICTURES,
        'ContrastiveCLIP': _TRAINING,
        'DINOPretraining': _TRAINING,
        'MaskAdaptedCLIP': _TRAINING,
        'NoLA': _TRAINING,
        'RefinedCLIP': _TRAINING,
        'YesNoCLIP': _TRAINING,
        'DenseSegTTAModel': _TURNS,
        'ScoreAverageTTAModel': _TURNS,
    }
)
"""By name of the class; of a class that is not here some models at least can be exported."""


PARTS: Mapping[str, str] = MappingProxyType(
    {
        'post': 'its scores are refined (post=...), which the runtime does not do; leave post out.',
        'read_out': 'its read-out ranks the tokens of a picture (repair, middle), which graphs do not.',
        'join': 'its last block runs over all windows of a picture (join=...), which the runtime does not do.',
        'spread': 'its scores travel over a graph of all windows (spread=...), which the runtime does not do.',
        'sam': 'its windows are averaged as Segment Anything looks (sam=...), which the runtime does not ask.',
        'regions': 'its labels follow regions of another program (regions=...), which the runtime does not ask.',
        'affinity': 'its affinity pairs heads by what each picture shows (SpectralAffinity), which graphs do not.',
        'adaptation': 'it fits a layer to every picture (adaptation=...), which graphs cannot do; leave it out.',
    }
)
"""By part of a model: why those that have it cannot be exported, the first that is told first."""


def why_not(kind: str) -> str:
    """Why models of a class cannot be exported; empty where some can.

    Args:
        kind: The ``type`` of a model in a config.
    """
    return REASONS.get(kind.rpartition('.')[2], '')


def first_part(has: Mapping[str, bool]) -> str:
    """Why a model cannot be exported for its parts; empty where it can.

    Args:
        has: Which of :data:`PARTS` it has.
    """
    return next((reason for part, reason in PARTS.items() if has.get(part)), '')


def why_not_preset(preset: Any) -> str:
    """Why models of a training-free method cannot be exported; empty where they can.

    Args:
        preset: A :class:`denseclip.clip.presets.Preset`.
    """
    post = dict(preset.model.get('post') or {})
    has = {part: preset.model.get(part) is not None for part in ('join', 'spread', 'sam')}
    has |= {
        'post': bool(set(post) - {'normalize'}),
        'read_out': any(preset.read_out.get(name) is not None for name in ('repair', 'middle')),
        'regions': preset.regions,
        'affinity': preset.model.get('affinity', {}).get('type') == 'SpectralAffinity',
    }
    return why_not(preset.type) or first_part(has)
