"""Training of image-text and image-only models from scratch, and what adapts a trained CLIP."""

from .contrastive import ContrastiveCLIP
from .dino import DINOPretraining
from .export import export_pretrained
from .mask_adaptation import MaskAdaptedCLIP
from .nola import NoLA
from .refinement import RefinedCLIP
from .yes_no import YesNoCLIP

__all__ = [
    'ContrastiveCLIP',
    'DINOPretraining',
    'MaskAdaptedCLIP',
    'NoLA',
    'RefinedCLIP',
    'YesNoCLIP',
    'export_pretrained',
]
