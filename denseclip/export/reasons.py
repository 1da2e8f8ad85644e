"""Why models cannot be exported, in words; nothing heavy is imported here, so that lists of models can say it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

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


def why_not(kind: str) -> str:
    """Why models of a class cannot be exported; empty where some can.

    Args:
        kind: The ``type`` of a model in a config.
    """
    return REASONS.get(kind.rpartition('.')[2], '')
