"""Prompt-guided mask proposals: text prompts steer the queries of a mask decoder (PMP, arXiv 2412.10292)."""

from .attention import TextQueryAttention
from .guide import PromptGuide, TokenGuide
from .sampler import PromptSampler
from .tokens import PromptTable, PromptTokens

__all__ = ['PromptGuide', 'PromptSampler', 'PromptTable', 'PromptTokens', 'TextQueryAttention', 'TokenGuide']
