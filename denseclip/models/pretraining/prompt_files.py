"""Mask prompts beside the weights of the CLIP that they were trained with."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from denseclip.files.provenance import provenance
from denseclip.weights import read_state_dict, write_safetensors

from ..region_classifier import PROMPTS_FILE, PROMPTS_KEY

PROMPT_STD = 0.02
"""Standard deviation of fresh prompts."""


def read_mask_prompts(folder: str | Path) -> Tensor | None:
    """Prompts of an adapted CLIP, (depth, positions or 1, width); None if the folder has none."""
    path = Path(folder) / PROMPTS_FILE
    return read_state_dict(path)[PROMPTS_KEY] if path.is_file() else None


def write_mask_prompts(prompts: Tensor, folder: str | Path) -> Path:
    """Write prompts into the folder of a CLIP; returns the file."""
    return write_safetensors({PROMPTS_KEY: prompts}, Path(folder) / PROMPTS_FILE, provenance())
