"""Text encoders with DenseCLIP's call."""

from .clip_text import CLIPTextContextEncoder
from .sentence_text import SentenceTextContextEncoder

__all__ = ['CLIPTextContextEncoder', 'SentenceTextContextEncoder']
