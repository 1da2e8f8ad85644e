"""Mask2Former with text rows as classes: the mask generator of FC-CLIP and MAFT+."""

from ..mask_head import LayerPrediction, MaskPredictions, PixelFeatures
from .classifiers import LinearClassifier, TextClassifier
from .criterion import MaskCriterion
from .decoder import MaskedQueryDecoder
from .head import OpenVocabMask2FormerHead
from .matcher import PointMaskMatcher
from .pixel_decoder import DeformableAttention, DeformablePixelDecoder
from .positions import sine_positions

__all__ = [
    'DeformableAttention',
    'DeformablePixelDecoder',
    'LayerPrediction',
    'LinearClassifier',
    'MaskCriterion',
    'PointMaskMatcher',
    'MaskPredictions',
    'MaskedQueryDecoder',
    'OpenVocabMask2FormerHead',
    'PixelFeatures',
    'TextClassifier',
    'sine_positions',
]
