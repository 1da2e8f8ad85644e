"""Training of image-text and image-only models from scratch, and adaptation of CLIP to masked pictures."""

from .contrastive import ContrastiveCLIP
from .dino import DINOPretraining
from .export import export_pretrained
from .mask_adaptation import MaskAdaptedCLIP

__all__ = ['ContrastiveCLIP', 'DINOPretraining', 'MaskAdaptedCLIP', 'export_pretrained']
