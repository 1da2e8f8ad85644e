"""Segmentors."""

from .correlation_pooling import CorrelationPoolingSegmentor, DinoCLIP
from .denseclip import DenseCLIP
from .dinoiser import CLIPDINOiser
from .fcclip import FCCLIP
from .maft import MAFTPlus
from .maskclip_plus import MaskCLIPPlus
from .open_vocab import OpenVocabularySegmentor
from .ovseg import OVSeg
from .pmp import PMPFCCLIP, PMPMAFTPlus, PMPOVSeg
from .pmp_mask2former import PMPMask2Former
from .resclip import ResCLIPSegmentor
from .sam3 import SAM3Segmentor
from .spar import SPAR
from .tta import DenseSegTTAModel, ScoreAverageTTAModel
from .two_stage import TwoStageSegmentor

__all__ = [
    'CLIPDINOiser',
    'CorrelationPoolingSegmentor',
    'DinoCLIP',
    'DenseCLIP',
    'DenseSegTTAModel',
    'FCCLIP',
    'MAFTPlus',
    'MaskCLIPPlus',
    'OVSeg',
    'OpenVocabularySegmentor',
    'PMPFCCLIP',
    'PMPMAFTPlus',
    'PMPMask2Former',
    'PMPOVSeg',
    'ResCLIPSegmentor',
    'SAM3Segmentor',
    'SPAR',
    'ScoreAverageTTAModel',
    'TwoStageSegmentor',
]
