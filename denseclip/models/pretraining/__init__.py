"""Training of image-text and image-only models from scratch, small enough for a CPU."""

from .contrastive import ContrastiveCLIP
from .dino import DINOPretraining
from .export import export_pretrained

__all__ = ['ContrastiveCLIP', 'DINOPretraining', 'export_pretrained']
