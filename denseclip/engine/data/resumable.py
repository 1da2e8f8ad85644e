"""A data loader that can start anywhere in the run without loading what came before."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import torch
from mmengine.dist import get_dist_info
from torch.utils.data import DataLoader, Sampler

from .seeded import SeededDataset, SeededIndex


class ResumableBatchSampler(Sampler[list[int]]):
    """Number the samples of any batch sampler over all processes, and skip batches on request.

    Batch ``t`` of process ``r`` of ``W`` holds the places ``W·(t·B + j) + r`` of its epoch. With samplers that deal
    their stream round robin to the processes (MMEngine's all do), one process with batch ``W·B`` sees the same samples
    with the same places as ``W`` processes with batch ``B``.

    Args:
        batch_sampler: Yields lists of dataset indices.
    """

    def __init__(self, batch_sampler: Any) -> None:
        self.inner = batch_sampler
        self.rank, self.world_size = get_dist_info()
        self.epoch = 0
        self.drawn = 0
        self._started: Iterator[list[int]] | None = None

    @property
    def sampler(self) -> Any:
        """The index sampler inside (MMEngine's hooks look for it here)."""
        return getattr(self.inner, 'sampler', None)

    @property
    def batch_size(self) -> int:
        """Samples per batch and process."""
        return int(self.inner.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Begin another epoch; an infinite sampler stays in epoch 0 for the whole run."""
        if epoch != self.epoch:
            self.epoch, self.drawn = epoch, 0
        for sampler in (self.inner, self.sampler):
            if hasattr(sampler, 'set_epoch'):
                sampler.set_epoch(epoch)

    def seek(self, batches: int) -> None:
        """Pass over batches without loading them, epoch after epoch where the inner sampler is finite.

        Args:
            batches: How many; the next iteration begins behind them.

        Raises:
            RuntimeError: The inner sampler yields no batch at all.
        """
        iterator, found = self._numbered(), True
        while batches > 0:
            if next(iterator, None) is not None:
                batches, found = batches - 1, True
                continue
            if not found:
                raise RuntimeError('the training sampler yields no batch: is the data set smaller than one batch?')
            self.set_epoch(self.epoch + 1)
            iterator, found = self._numbered(), False
        self._started = iterator

    def _numbered(self) -> Iterator[list[int]]:
        for batch in self.inner:
            first = self.drawn
            self.drawn += len(batch)
            yield [
                SeededIndex(index, (self.epoch, (first + j) * self.world_size + self.rank))
                for j, index in enumerate(batch)
            ]

    def __iter__(self) -> Iterator[list[int]]:
        """Yield lists of :class:`SeededIndex`."""
        started, self._started = self._started, None
        yield from started if started is not None else self._numbered()

    def __len__(self) -> int:
        """Batches per epoch and process."""
        return len(self.inner)


class ResumableDataLoader(DataLoader):
    """A ``DataLoader`` that starts its workers at the first batch that is asked for, not when it is iterated.

    MMEngine's loop asks for an iterator before the checkpoint is read; workers started then would load the beginning
    of the data set for nothing.
    """

    @property
    def places(self) -> ResumableBatchSampler:
        """The batch sampler, which knows and moves the position."""
        assert isinstance(self.batch_sampler, ResumableBatchSampler)
        return self.batch_sampler

    @property
    def seeded(self) -> SeededDataset:
        """The data set in its seeding wrapper."""
        assert isinstance(self.dataset, SeededDataset)
        return self.dataset

    def __iter__(self) -> Generator[Any, None, None]:  # type: ignore[override]
        """Yield batches."""
        yield from super().__iter__()


def make_resumable(loader: DataLoader, seed: int, on_damaged: str = 'stop') -> ResumableDataLoader:
    """Rebuild a data loader around per-sample seeds.

    Args:
        loader: Built by MMEngine from a config; it must not have been iterated yet.
        seed: The run's seed, the same in all processes.
        on_damaged: What to do about damaged samples, see :class:`SeededDataset`.

    Returns:
        A loader with the same data set, batches, workers and collate function.

    Raises:
        ValueError: The loader does not batch by indices, so that there is no position to resume at.
    """
    if loader.batch_sampler is None:
        raise ValueError(
            'exact resume needs a train_dataloader with batch_size or batch_sampler; for an iterable data set choose '
            "MMEngine's own loop, which replays the data on resume: train_cfg.type='mmengine.IterBasedTrainLoop'"
        )
    options: dict[str, Any] = {
        'num_workers': loader.num_workers,
        'collate_fn': loader.collate_fn,
        'pin_memory': loader.pin_memory,
        'timeout': loader.timeout,
        'worker_init_fn': loader.worker_init_fn,
        'persistent_workers': loader.persistent_workers,
        'pin_memory_device': loader.pin_memory_device,
    }
    if loader.num_workers > 0:
        options.update(prefetch_factor=loader.prefetch_factor, multiprocessing_context=loader.multiprocessing_context)
    dataset: Any = SeededDataset(loader.dataset, seed, on_damaged)
    # The loader draws a base seed for its workers: from a generator of its own, not from the training's.
    generator = torch.Generator(device='cpu')
    generator.manual_seed(seed)
    return ResumableDataLoader(
        dataset, batch_sampler=ResumableBatchSampler(loader.batch_sampler), generator=generator, **options
    )
