"""Segmentors."""

from .correlation_pooling import CorrelationPoolingSegmentor, DinoCLIP
from .denseclip import DenseCLIP
from .dinoiser import CLIPDINOiser
from .maskclip_plus import MaskCLIPPlus
from .open_vocab import OpenVocabularySegmentor
from .resclip import ResCLIPSegmentor
from .tta import DenseSegTTAModel

__all__ = [
    'CLIPDINOiser',
    'CorrelationPoolingSegmentor',
    'DinoCLIP',
    'DenseCLIP',
    'DenseSegTTAModel',
    'MaskCLIPPlus',
    'OpenVocabularySegmentor',
    'ResCLIPSegmentor',
]
