"""Say which damaged files a training has passed over, and how often."""

from __future__ import annotations

from collections import Counter
from typing import Any

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..data.seeded import DAMAGED

_KEY = 'damaged_files'
_SHOWN = 20  # files that are named at the end; the log has named each when it was met


@HOOKS.register_module()
class DamagedFilesHook(Hook):
    """Name and count samples that were skipped (``train_cfg.on_damaged='skip'``).

    A file is named when the first process meets it, or with the next checkpoint where another one does (only the first
    one's log is kept), and the most frequent ones with their numbers at the end. Numbers are those of all processes
    and travel in checkpoints, so a resumed run counts on.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._gathered: Counter[str] | None = None
        self._told: set[str] = set()  # of those that other processes have met

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Count what the samples of this iteration stand for."""
        samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
        for sample in samples if isinstance(samples, list | tuple) else ():
            for fault in getattr(sample, 'metainfo', {}).get(DAMAGED, ()):
                if fault not in self.counts:
                    runner.logger.warning(f'skipped at iteration {runner.iter + 1}: {fault}')
                self.counts[fault] += 1

    def before_checkpoint(self, runner: Runner, stage: str) -> None:
        """Add up the numbers of all processes; ``SafeCheckpointHook`` calls it on all of them.

        Args:
            runner: The runner.
            stage: Unused.
        """
        self._gathered = self._of_all()
        self._tell(runner, self._gathered)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep the numbers in the checkpoint."""
        total = self._gathered if self._gathered is not None else self.counts
        if total:
            checkpoint[_KEY] = dict(total)
        self._gathered = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Count on; the first process holds what all have counted before."""
        self.counts = Counter(checkpoint.get(_KEY) or {}) if runner.rank == 0 else Counter()

    def before_train(self, runner: Runner) -> None:
        """Forget the numbers of a checkpoint whose weights are only a start."""
        if runner.iter == 0:
            self.counts.clear()
            self._told.clear()

    def after_train(self, runner: Runner) -> None:
        """Say what was skipped."""
        total = self._of_all()
        self._tell(runner, total)
        if not total:
            return
        named = [f'{count} x {fault}' for fault, count in total.most_common(_SHOWN)]
        more = f'; and {len(total) - _SHOWN} more' if len(total) > _SHOWN else ''
        runner.logger.warning(
            f'{len(total)} damaged samples were skipped, {total.total()} times in all: {"; ".join(named)}{more}'
        )

    def _tell(self, runner: Runner, total: Counter[str]) -> None:
        """Name what other processes have met; the main one's log is the one that is kept."""
        if runner.rank != 0:
            return
        for fault in sorted(total.keys() - self.counts.keys() - self._told):
            runner.logger.warning(f'skipped by another process up to iteration {runner.iter}: {fault}')
            self._told.add(fault)

    def _of_all(self) -> Counter[str]:
        return sum(all_gather_object(self.counts), Counter())
