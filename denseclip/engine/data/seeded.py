"""Per-sample seeding: what a sample looks like depends on where it stands in the run, not on who loads it."""

from __future__ import annotations

import random
from typing import Any

from mmengine.structures import BaseDataElement

from ...datasets.files import UnreadableFileError
from ..rng import isolated_rng
from .samples import DamagedSampleError, SampleError

ON_DAMAGED = ('stop', 'skip')
"""What training does about a picture or label map that cannot be read."""
DAMAGED = 'damaged'
"""Name in ``metainfo`` of a sample that stands for damaged ones: the sentences that name them."""
_ATTEMPTS = 10
_OWN = ('dataset', 'seed', 'on_damaged')
_UNUSABLE = (DamagedSampleError, UnreadableFileError)


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
        dataset: Any map-style dataset; its attributes (``metainfo``, ``pipeline`` ...) are read and set through this
            wrapper.
        seed: The run's seed.
        on_damaged: ``'stop'``, or ``'skip'``: another sample takes the place of one whose picture or label map is
            missing or damaged. Which one depends on the place alone, as augmentation does: a resumed run, other workers
            and another number of processes choose the same. The sample that stands in says so, see :data:`DAMAGED`.

    Raises:
        ValueError: ``on_damaged`` is neither.
    """

    def __init__(self, dataset: Any, seed: int, on_damaged: str = 'stop') -> None:
        if on_damaged not in ON_DAMAGED:
            raise ValueError(f'on_damaged is one of {", ".join(ON_DAMAGED)}, not {on_damaged!r}')
        self.dataset = dataset
        self.seed = seed
        self.on_damaged = on_damaged

    def __getattr__(self, name: str) -> Any:
        """Read attributes of the wrapped dataset."""
        if name in _OWN or (name.startswith('__') and name.endswith('__')):
            raise AttributeError(name)  # also stops the recursion while unpickling in a spawned worker
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set attributes of the wrapped data set: hooks change its ``pipeline`` while a training runs."""
        if name in _OWN:
            super().__setattr__(name, value)
        else:
            setattr(self.dataset, name, value)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        """Load one sample; a plain ``int`` is loaded without seeding."""
        if not isinstance(index, SeededIndex):
            return self.dataset[index]
        try:
            with isolated_rng((self.seed, *index.place)):
                return self.dataset[int(index)]
        except _UNUSABLE as error:
            if self.on_damaged == 'stop':
                raise
            return self._stand_in(index.place, error)

    def _stand_in(self, place: tuple[int, ...], error: Exception) -> Any:
        """Another sample for a place.

        Raises:
            SampleError: Sample after sample is damaged, or this kind of data cannot say what it stands for.
        """
        damaged = [' '.join(str(error).split())]
        for attempt in range(1, _ATTEMPTS + 1):
            with isolated_rng((self.seed, *place, attempt)):
                try:
                    sample = self.dataset[random.randrange(len(self))]
                except _UNUSABLE as another:
                    damaged.append(' '.join(str(another).split()))
                    continue
            holder = sample.get('data_samples') if isinstance(sample, dict) else None
            if not isinstance(holder, BaseDataElement):
                raise SampleError(f'{damaged[0]} (data without data_samples cannot be skipped: on_damaged)') from error
            holder.set_metainfo({DAMAGED: tuple(damaged)})
            return sample
        raise SampleError(
            f'{len(damaged)} samples in a row are damaged, the first of them: {damaged[0]}; is the disk there?'
        ) from error
