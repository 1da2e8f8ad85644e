"""Models; importing this package registers them in MMEngine's root registry."""

from . import (
    anomaly,
    backbones,
    detectors,
    heads,
    losses,
    pretraining,
    proposers,
    providers,
    segmentors,
    teachers,
    text_encoders,
)

__all__ = [
    'anomaly',
    'backbones',
    'detectors',
    'heads',
    'losses',
    'pretraining',
    'proposers',
    'providers',
    'segmentors',
    'teachers',
    'text_encoders',
]
