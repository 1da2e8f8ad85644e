"""Test a model with a head of a few labelled pictures."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from denseclip.engine.config import OptionError
from denseclip.files.names import shown
from denseclip.models.pixel_head import takes_pixel_head
from denseclip.models.pixel_head_file import read_head, why_unfit

from .vocabulary_check import unwrap_model


@HOOKS.register_module()
class PixelHeadHook(Hook):
    """Correct a model's scores of words by a head of ``denseclip adapt``, when its weights have been read.

    Args:
        file: The head.

    Raises:
        OptionError: At the start of the test, if the model takes no head, the head belongs to another model, or knows
            none of the classes.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.head = read_head(file)

    def before_test(self, runner: Runner) -> None:
        """Give the model the head."""
        model: Any = unwrap_model(runner.model)
        if not takes_pixel_head(model):
            raise OptionError(
                f'--head: {type(model).__name__} has no embeddings of pixels in the space of its words; take a preset, '
                'CLIP-DINOiser, or a DenseCLIP with open words.'
            )
        unfit = why_unfit(model, self.head, f"--head: '{shown(self.file)}'", model.vocabulary)
        if unfit is not None:
            raise OptionError(unfit)
        model.pixel_head = self.head
