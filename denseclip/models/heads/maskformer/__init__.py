"""MaskFormer's mask generator (Cheng et al., NeurIPS 2021) with class embeddings instead of a classifier."""

from .criterion import MaskFormerCriterion
from .head import OpenVocabMaskFormerHead
from .matcher import WholeMaskMatcher
from .pixel_decoder import EncoderPixelDecoder, PyramidPixelDecoder
from .predictor import QueryPredictor

__all__ = [
    'EncoderPixelDecoder',
    'MaskFormerCriterion',
    'WholeMaskMatcher',
    'OpenVocabMaskFormerHead',
    'PyramidPixelDecoder',
    'QueryPredictor',
]
