"""Training loops that continue exactly where a checkpoint stopped.

MMEngine's iteration loop "advances" by loading all earlier batches again, and its epoch loop restarts the epoch. These
loops move the sampler only: no image is read, and sample order and augmentation are those of an uninterrupted run.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import Any

from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from .data import ResumableDataLoader, make_resumable
from .hooks.training_state import last_validated


def sampler_seed(runner: Runner) -> int:
    """The seed that all processes share; ``diff_rank_seed`` adds the rank to ``runner.seed``, which is undone here."""
    per_rank = runner.cfg.get('randomness', {}).get('diff_rank_seed', False)
    return int(runner.seed) - (int(runner.rank) if per_rank else 0)


def build_resumable_loader(
    runner: Runner, dataloader: DataLoader | dict[str, Any], on_damaged: str = 'stop'
) -> ResumableDataLoader:
    """Build the training data loader of a config around per-sample seeds.

    Args:
        runner: Gives the seed.
        dataloader: A config or a loader that has not been iterated.
        on_damaged: What to do about damaged samples: ``'stop'`` or ``'skip'``.

    Returns:
        The loader.
    """
    if isinstance(dataloader, ResumableDataLoader):
        return dataloader
    seed = sampler_seed(runner)
    return make_resumable(runner.build_dataloader(dataloader, seed=seed), seed, on_damaged)


class _ResumableLoopMixin:
    """What both loops share: the resumed seed, and a validation that the interruption swallowed."""

    runner: Runner
    dataloader: ResumableDataLoader

    def adopt_seed(self, config: DataLoader | dict[str, Any]) -> None:
        """Rebuild the loader when the checkpoint's seed is not the one that the loader was built with.

        A run without a configured seed draws one; MMEngine reads the drawn seed from the checkpoint only after the
        data loader exists.
        """
        seed = sampler_seed(self.runner)
        if self.dataloader.seeded.seed == seed or not isinstance(config, dict):
            return
        config = {**config, 'dataset': self.dataloader.seeded.dataset}
        loader = self.runner.build_dataloader(config, seed=seed)
        self.dataloader = make_resumable(loader, seed, self.dataloader.seeded.on_damaged)

    def validation_was_missed(self, now: int) -> bool:
        """Whether the loaded checkpoint was written just before a validation that never finished."""
        done = last_validated(self.runner)
        return done is not None and done < now


@LOOPS.register_module()
class ResumableIterTrainLoop(_ResumableLoopMixin, IterBasedTrainLoop):
    """``IterBasedTrainLoop`` with exact resume; same arguments.

    Args:
        runner: The runner.
        dataloader: Config of the training data loader.
        max_iters: Iterations to train.
        on_damaged: ``'stop'`` at a picture or label map that cannot be read, or ``'skip'`` it.
        **kwargs: See :class:`mmengine.runner.IterBasedTrainLoop`.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict[str, Any],
        max_iters: int,
        on_damaged: str = 'stop',
        **kwargs: Any,
    ) -> None:
        self._loader_config = dataloader
        super().__init__(runner, build_resumable_loader(runner, dataloader, on_damaged), max_iters, **kwargs)

    def run(self) -> nn.Module:
        """Train to ``max_iters``, from the iteration of the loaded checkpoint if there is one."""
        self.runner.call_hook('before_train')
        self.adopt_seed(self._loader_config)
        # A generator: it seeks at the first ``next``, after every hook had its turn at the sampler. Closed at the end,
        # so that its workers stop at once; left to the garbage collector, torch waits five seconds for each.
        with closing(self._batches(self.iter)) as self.dataloader_iterator:
            self.runner.call_hook('before_train_epoch')
            self._decide_current_val_interval()
            if self._validation_is_due() and self.validation_was_missed(self.iter):
                self.runner.val_loop.run()
            while self.iter < self.max_iters and not self.stop_training:
                self.runner.model.train()
                self.run_iter(next(self.dataloader_iterator))
                self._decide_current_val_interval()
                if self._validation_is_due():
                    self.runner.val_loop.run()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _validation_is_due(self) -> bool:
        at_interval = self.iter % self.val_interval == 0 or self.iter == self.max_iters
        return self.iter > 0 and self.runner.val_loop is not None and self.iter >= self.val_begin and at_interval

    def _batches(self, start: int) -> Generator[Any, None, None]:
        """Batches from iteration ``start`` on, epoch after epoch where the sampler is finite."""
        sampler = self.dataloader.places
        sampler.seek(start)
        while True:
            empty = True
            for batch in self.dataloader:
                empty = False
                yield batch
            if empty and start == 0:
                raise RuntimeError('the training data loader yields no batch: is the data set smaller than one batch?')
            start = 0
            sampler.set_epoch(sampler.epoch + 1)


@LOOPS.register_module()
class ResumableEpochTrainLoop(_ResumableLoopMixin, EpochBasedTrainLoop):
    """``EpochBasedTrainLoop`` with exact resume, also from a checkpoint written in the middle of an epoch.

    Args:
        runner: The runner.
        dataloader: Config of the training data loader.
        max_epochs: Epochs to train.
        on_damaged: ``'stop'`` at a picture or label map that cannot be read, or ``'skip'`` it.
        **kwargs: See :class:`mmengine.runner.EpochBasedTrainLoop`.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict[str, Any],
        max_epochs: int,
        on_damaged: str = 'stop',
        **kwargs: Any,
    ) -> None:
        self._loader_config = dataloader
        super().__init__(runner, build_resumable_loader(runner, dataloader, on_damaged), max_epochs, **kwargs)

    def run(self) -> nn.Module:
        """Train to ``max_epochs``, from the epoch and batch of the loaded checkpoint if there is one."""
        self.runner.call_hook('before_train')
        self.adopt_seed(self._loader_config)
        self._passed = self._batches_passed()
        self._decide_current_val_interval()
        if self._passed == 0 and self._validation_is_due() and self.validation_was_missed(self.iter):
            self.runner.val_loop.run()
        while self.epoch < self.max_epochs and not self.stop_training:
            self.run_epoch()
            self._decide_current_val_interval()
            if self._validation_is_due():
                self.runner.val_loop.run()
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Train what is left of the current epoch."""
        passed, self._passed = self._passed, 0
        if not passed:
            self.runner.message_hub.update_info('epoch_begin', [self.epoch, self.iter])
        self.dataloader.places.set_epoch(self.epoch)
        self.runner.call_hook('before_train_epoch')
        self.dataloader.places.seek(passed)
        self.runner.model.train()
        for batch_idx, data_batch in enumerate(self.dataloader, start=passed):
            self.run_iter(batch_idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _batches_passed(self) -> int:
        """Batches of the current epoch that the checkpoint has behind it; 0 at an epoch boundary."""
        hub, length = self.runner.message_hub, len(self.dataloader)
        earlier = hub.get_info('epoch_length', length)
        hub.update_info('epoch_length', length)
        # Not epoch * length: an earlier resume may have changed the length.
        epoch, begin = hub.get_info('epoch_begin', [self.epoch, self.epoch * earlier])
        passed = self.iter - begin if epoch == self.epoch else 0
        if passed == 0 or earlier == length:
            return passed
        self.runner.logger.warning(
            f'the checkpoint stops inside epoch {self.epoch + 1} of {earlier} batches, now an epoch has {length} '
            '(another batch size, number of processes or data set): the epoch starts again from its first batch.'
        )
        return 0

    def _validation_is_due(self) -> bool:
        at_interval = self.epoch % self.val_interval == 0 or self.epoch == self.max_epochs
        return self.epoch > 0 and self.runner.val_loop is not None and self.epoch >= self.val_begin and at_interval
