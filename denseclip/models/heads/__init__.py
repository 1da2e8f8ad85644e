"""Heads and prompt decoders."""

from .context_decoder import ContextDecoder
from .identity_head import IdentityHead
from .pixel_text_head import PixelTextFPNHead

__all__ = ['ContextDecoder', 'IdentityHead', 'PixelTextFPNHead']
