"""From the teacher's pseudo-labels to the student's own."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from .vocabulary_check import unwrap_model


@HOOKS.register_module()
class SelfTrainingHook(Hook):
    """Switch a model with an attribute ``self_training`` to its own pseudo-labels at one iteration.

    Which iteration it is comes from the runner, so a resumed run is in the right phase.

    Args:
        begin: First iteration of self-training, counted from 1 (MaskCLIP+, zero-shot: 2000).
    """

    def __init__(self, begin: int = 2000) -> None:
        if begin < 1:
            raise ValueError(f'SelfTrainingHook: begin counts iterations from 1, got {begin}.')
        self.begin = begin

    def before_train(self, runner: Runner) -> None:
        """Check that the model knows self-training.

        Raises:
            TypeError: If it does not.
        """
        model = unwrap_model(runner.model)
        if not hasattr(model, 'self_training'):
            raise TypeError(
                f'SelfTrainingHook needs a model such as MaskCLIPPlus; {type(model).__name__} has no phases.'
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Set the phase of the coming iteration."""
        del batch_idx, data_batch
        model: Any = unwrap_model(runner.model)
        model.self_training = runner.iter + 1 >= self.begin
