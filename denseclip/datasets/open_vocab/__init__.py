"""Evaluation of open-vocabulary segmentation: the sets, the published protocols and the published numbers."""

from denseclip.datasets.open_vocab.protocols import PROTOCOLS, EvaluationProtocol, default_protocol, protocol
from denseclip.datasets.open_vocab.published import PUBLISHED, Published, published
from denseclip.datasets.open_vocab.sets import (
    DOMAIN_SETS,
    LARGE_SETS,
    MESS_SETS,
    MINIWORLD,
    SETS,
    EvaluationSet,
    evaluation_set,
)
from denseclip.datasets.open_vocab.setting import Setting

__all__ = [
    'DOMAIN_SETS',
    'LARGE_SETS',
    'MESS_SETS',
    'MINIWORLD',
    'PROTOCOLS',
    'PUBLISHED',
    'SETS',
    'EvaluationSet',
    'EvaluationProtocol',
    'Published',
    'Setting',
    'default_protocol',
    'evaluation_set',
    'protocol',
    'published',
]
