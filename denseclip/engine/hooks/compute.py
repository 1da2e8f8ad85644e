"""Runs that compute in another precision, memory layout or in graphs."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..compute import Compute
from .vocabulary_check import unwrap_model


@HOOKS.register_module()
class ComputeHook(Hook):
    """Put the model into the state that :class:`denseclip.engine.compute.Compute` describes, once it has its weights.

    Args:
        **settings: Of :class:`~denseclip.engine.compute.Compute`. ``precision`` goes for tests; in training the
            optimizer wrapper has one.
    """

    priority = 'VERY_LOW'  # other hooks may still change weights

    def __init__(self, **settings: Any) -> None:
        self.compute = Compute(**settings)

    def before_train(self, runner: Runner) -> None:
        """Layout and graphs; weights stay as they are."""
        self._prepare(runner, training=True)

    def before_test(self, runner: Runner) -> None:
        """The whole of it, for all batches of the test."""
        self._prepare(runner, training=False)
        model: Any = runner.model
        plain = model.test_step

        def step(batch: Any) -> Any:
            with self.compute.running(model):
                return plain(batch)

        model.test_step = step

    def after_test(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Give the model its own step back."""
        del metrics
        runner.model.__dict__.pop('test_step', None)

    def _prepare(self, runner: Runner, training: bool) -> None:
        from ..config import OptionError

        try:
            self.compute.prepare(unwrap_model(runner.model), training=training)
        except ValueError as error:
            raise OptionError(str(error)) from error
