"""Segment Anything as a part of other models: what its encoder sees, and masks for points, boxes and rough masks."""

from .doors import PromptedSAM, SAMView, segment_anything_model
from .label_prompts import LabelPrompts, Refinement, prompts_of, refined_labels
from .sight import LastAttention, Likeness

__all__ = [
    'LabelPrompts',
    'LastAttention',
    'Likeness',
    'PromptedSAM',
    'Refinement',
    'SAMView',
    'prompts_of',
    'refined_labels',
    'segment_anything_model',
]
