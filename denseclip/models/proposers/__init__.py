"""Where masks may come from, besides a trained mask generator of one's own: see ``MaskProposer``."""

from .base import PictureProposer
from .instance_model import InstanceModelMasks
from .mask_files import MaskFiles
from .sam_masks import SAMMasks
from .segmentor_masks import SegmentorMasks
from .superpixels import SuperpixelMasks
from .transformers_masks import TransformersMasks

__all__ = [
    'InstanceModelMasks',
    'MaskFiles',
    'PictureProposer',
    'SAMMasks',
    'SegmentorMasks',
    'SuperpixelMasks',
    'TransformersMasks',
]
