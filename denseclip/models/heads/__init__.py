"""Heads and prompt decoders."""

from .cdt import ContentDependentTransfer
from .context_decoder import ContextDecoder
from .dinoiser import DINOiserHead
from .identity_head import IdentityHead
from .mask2former import OpenVocabMask2FormerHead
from .mask_adapter import MaskAdapter
from .maskclip_plus import MaskCLIPPlusHead
from .maskformer import OpenVocabMaskFormerHead
from .pixel_text_head import PixelTextFPNHead
from .pmp import PromptGuide
from .pmp.mask2former import GuidedMask2FormerHead

__all__ = [
    'ContentDependentTransfer',
    'ContextDecoder',
    'DINOiserHead',
    'GuidedMask2FormerHead',
    'IdentityHead',
    'MaskAdapter',
    'MaskCLIPPlusHead',
    'OpenVocabMask2FormerHead',
    'OpenVocabMaskFormerHead',
    'PixelTextFPNHead',
    'PromptGuide',
]
