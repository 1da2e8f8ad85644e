"""Validation of a sharded model."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..sharding import let_go, touch


class ShardedCachesHook(Hook):
    """Before each validation, caches of text see that weights have changed; after it, memory is given back.

    ``SuiteRunner`` adds it to sharded runs.
    """

    priority = 'HIGHEST'

    def before_val(self, runner: Runner) -> None:
        """See :func:`denseclip.engine.sharding.touch`."""
        touch(runner.model)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """See :func:`denseclip.engine.sharding.let_go`."""
        del metrics
        let_go(runner.model)
