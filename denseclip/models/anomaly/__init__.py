"""Zero-shot anomaly models."""

from .adaptation import TestTimeAdaptation
from .anovl import AnoVL
from .april_gan import AprilGAN
from .base import AnomalyModel, PictureScore
from .dual_path import dual_path
from .winclip import WinCLIP

__all__ = ['AnoVL', 'AnomalyModel', 'AprilGAN', 'PictureScore', 'TestTimeAdaptation', 'WinCLIP', 'dual_path']
