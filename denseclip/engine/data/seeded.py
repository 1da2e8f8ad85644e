"""Per-sample seeding: what a sample looks like depends on where it stands in the run, not on who loads it."""

from __future__ import annotations

from typing import Any

from ..rng import isolated_rng


class SeededIndex(int):
    """A dataset index that also knows its place in the training run.

    It is an ``int``, so samplers, datasets and collate functions that know nothing of it work unchanged.

    Args:
        index: The dataset index.
        place: Non-negative integers (epoch, position over all processes) that, with the run's seed, determine the
            sample's augmentation.
    """

    place: tuple[int, ...]

    def __new__(cls, index: int, place: tuple[int, ...] = ()) -> SeededIndex:
        """Make the index; see the class."""
        self = super().__new__(cls, index)
        self.place = place
        return self

    def __reduce__(self) -> tuple[type[SeededIndex], tuple[int, tuple[int, ...]]]:
        """Keep the place when the index travels to a worker process."""
        return SeededIndex, (int(self), self.place)


class SeededDataset:
    """Load each sample under random states of its own.

    The pipeline's draws (Python, NumPy, torch) then do not depend on the number of worker processes, on which worker
    loads the sample, on earlier samples, or on a restart. Draws of the training process are left untouched.
    Libraries with private generators (some albumentations versions) are outside this promise.

    Args:
        dataset: Any map-style dataset; its attributes (``metainfo`` ...) are readable through this wrapper.
        seed: The run's seed.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def __getattr__(self, name: str) -> Any:
        """Read attributes of the wrapped dataset."""
        if name in ('dataset', 'seed') or (name.startswith('__') and name.endswith('__')):
            raise AttributeError(name)  # also stops the recursion while unpickling in a spawned worker
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        """Load one sample; a plain ``int`` is loaded without seeding."""
        if not isinstance(index, SeededIndex):
            return self.dataset[index]
        with isolated_rng((self.seed, *index.place)):
            return self.dataset[int(index)]
