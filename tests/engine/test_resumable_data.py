"""Order and seeds of samples: counted over all processes, and reachable without loading."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch.utils.data import BatchSampler, DataLoader

from denseclip.engine.data import ResumableBatchSampler, SeededDataset, SeededIndex, make_resumable

Place = tuple[int, tuple[int, ...]]


class Numbers:
    """A data set that remembers what it loaded."""

    metainfo = {'classes': ('a',)}

    def __init__(self) -> None:
        self.loaded: list[int] = []

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> int:
        assert type(index) is int
        self.loaded.append(index)
        return index


def infinite(rank: int = 0, world_size: int = 1) -> InfiniteSampler:
    sampler = InfiniteSampler(Numbers(), seed=5)
    sampler.rank, sampler.world_size = rank, world_size
    return sampler


def finite(rank: int = 0, world_size: int = 1) -> DefaultSampler:
    return DefaultSampler(Numbers(), seed=5)


def stream(sampler: Any, count: int, *, size: int = 2, seek: int = 0) -> list[list[Place]]:
    """The first batches after ``seek``, epoch after epoch, as (index, place)."""
    wrapped = ResumableBatchSampler(BatchSampler(sampler, size, drop_last=False))
    wrapped.rank, wrapped.world_size = sampler.rank, sampler.world_size
    wrapped.seek(seek)
    found: list[list[Place]] = []
    while True:
        for batch in wrapped:
            found.append([(int(index), index.place) for index in batch])
            if len(found) == count:
                return found
        wrapped.set_epoch(wrapped.epoch + 1)


@pytest.mark.parametrize('make', [infinite, finite])
@pytest.mark.parametrize('passed', [0, 1, 3, 4, 5, 11])
def test_seeking_is_the_same_as_passing(make: Callable[[], Any], passed: int) -> None:
    assert stream(make(), 6, seek=passed) == stream(make(), passed + 6)[passed:]


@pytest.mark.parametrize('make', [infinite, finite])
def test_no_place_occurs_twice(make: Callable[[], Any]) -> None:
    places = [place for batch in stream(make(), 20) for _, place in batch]
    assert len(set(places)) == len(places)


def test_two_processes_see_what_one_with_the_doubled_batch_sees() -> None:
    one = stream(infinite(), 5, size=4)
    first, second = (stream(infinite(rank, 2), 5, size=2) for rank in (0, 1))
    for whole, a, b in zip(one, first, second, strict=True):
        assert sorted(whole) == sorted(a + b)


def test_seeking_loads_nothing() -> None:
    data = Numbers()
    sampler = InfiniteSampler(data, seed=5)
    loader = make_resumable(DataLoader(data, batch_size=2, sampler=sampler, collate_fn=list), seed=1)
    loader.places.seek(100)
    assert data.loaded == []
    assert len(next(iter(loader))) == len(data.loaded) == 2


def test_an_empty_sampler_is_an_error_not_an_endless_loop() -> None:
    wrapped = ResumableBatchSampler(BatchSampler(DefaultSampler(Numbers(), seed=0), 8, drop_last=True))
    with pytest.raises(RuntimeError, match='yields no batch'):
        wrapped.seek(1)


def test_unbatched_loaders_are_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match=r"train_cfg.type='mmengine.IterBasedTrainLoop'"):
        make_resumable(DataLoader(Numbers(), batch_size=None), seed=0)


def test_an_index_keeps_its_place_on_the_way_to_a_worker() -> None:
    index = pickle.loads(pickle.dumps(SeededIndex(3, (0, 9))))
    assert index == 3 and index.place == (0, 9) and [10, 11, 12, 13][index] == 13


def test_the_wrapper_shows_the_dataset() -> None:
    data = pickle.loads(pickle.dumps(SeededDataset(Numbers(), seed=0)))
    assert len(data) == 7 and data.metainfo == {'classes': ('a',)} and data[2] == 2
    with pytest.raises(AttributeError):
        _ = data.nothing


def test_what_hooks_set_reaches_the_data_set_itself() -> None:
    """MMDetection's PipelineSwitchHook sets ``pipeline`` on what the loader holds."""
    inner = Numbers()
    data: Any = SeededDataset(inner, seed=0)
    data.pipeline = 'weak'
    assert inner.pipeline == 'weak' and data.pipeline == 'weak' and 'pipeline' not in vars(data)
    data.seed = 4
    assert data.seed == 4 and not hasattr(inner, 'seed')
