"""Heads and prompt decoders."""

from .context_decoder import ContextDecoder
from .dinoiser import DINOiserHead
from .identity_head import IdentityHead
from .maskclip_plus import MaskCLIPPlusHead
from .pixel_text_head import PixelTextFPNHead

__all__ = ['ContextDecoder', 'DINOiserHead', 'IdentityHead', 'MaskCLIPPlusHead', 'PixelTextFPNHead']
