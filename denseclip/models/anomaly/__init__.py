"""Anomaly models that are not trained: by words, by good pictures, by the other pictures."""

from .adaptation import TestTimeAdaptation
from .anovl import AnoVL
from .answers import PictureScore
from .april_gan import AprilGAN
from .base import AnomalyModel
from .dual_path import dual_path
from .references import BatchInspector, ReferenceInspector
from .winclip import WinCLIP

__all__ = [
    'AnoVL',
    'AnomalyModel',
    'AprilGAN',
    'BatchInspector',
    'PictureScore',
    'ReferenceInspector',
    'TestTimeAdaptation',
    'WinCLIP',
    'dual_path',
]
