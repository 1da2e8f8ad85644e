"""Folders of pairs: exact masks, whole files, and going on after a kill."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from denseclip.datasets.files import UnreadableFileError
from denseclip.datasets.pair_store import (
    MaskNounPair,
    PairStore,
    PairStoreError,
    mask_box,
)
from studies.mining import mine, shard


class Numbers:
    """Picture ``k`` has ``k % 3`` pairs; ``broken`` ones cannot be read."""

    def __init__(self, count: int = 10, settings: dict | None = None, broken: tuple[int, ...] = ()) -> None:
        self.count, self.settings, self.broken, self.asked = count, settings or {'a': 1}, broken, []

    def __len__(self) -> int:
        return self.count

    def __call__(self, index: int) -> list[MaskNounPair]:
        self.asked.append(index)
        if index in self.broken:
            raise UnreadableFileError(f'picture {index} is damaged')
        mask = np.zeros((4, 5), bool)
        mask[1, 2:4] = True
        return [MaskNounPair.of(f'{index}.jpg', mask, f'noun {k}', f'a noun {k}', 0.5) for k in range(index % 3)]

    def describe(self) -> dict:
        return self.settings


def content(root: Path) -> list[tuple[str, str]]:
    return [(pair.image, pair.noun) for pair in PairStore(root).read()]


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_masks_are_stored_exactly(mask: np.ndarray) -> None:
    if mask.any():
        assert (MaskNounPair.of('a.jpg', mask, 'dog', 'a dog', 0.5).mask() == mask).all()
        left, top, right, bottom = mask_box(mask)
        assert mask[top:bottom, left:right].sum() == mask.sum()
        assert mask[top].any() and mask[bottom - 1].any() and mask[:, left].any() and mask[:, right - 1].any()


def test_a_pair_survives_the_disk(tmp_path: Path) -> None:
    mask = np.zeros((6, 7), bool)
    mask[2:4, 1:6] = True
    pair = MaskNounPair.of('a/ü.jpg', mask, 'naïve "dog"', 'a photo of a\tdog\n', 0.123456)
    store = PairStore(tmp_path)
    store.begin({}, 1, 1)
    store.write(0, [pair])
    assert list(store.read()) == [pair] and (pair.mask() == mask).all() and pair.box == (1, 2, 6, 4)


def test_characters_that_end_lines_elsewhere_end_none_here(tmp_path: Path) -> None:
    pair = MaskNounPair.of('a\u2028b.jpg', np.ones((2, 2), bool), 'dog\x85house', 'a photo\u2029of it\x0c')
    store = PairStore(tmp_path)
    store.begin({}, 1, 1)
    store.write(0, [pair, pair])
    assert list(store.read()) == [pair, pair]


@pytest.mark.parametrize('world', [1, 2, 3, 7])
def test_any_number_of_processes_writes_the_same_pairs(tmp_path: Path, world: int) -> None:
    sources = [Numbers() for _ in range(world)]
    for rank, source in enumerate(sources):
        mine(source, tmp_path / 'many', rank=rank, world=world, chunk_size=2)
    assert sorted(i for source in sources for i in source.asked) == list(range(10))
    mine(Numbers(), tmp_path / 'one', chunk_size=2)
    assert content(tmp_path / 'many') == content(tmp_path / 'one')


def test_a_killed_run_goes_on_with_other_processes(tmp_path: Path) -> None:
    class Killed(Numbers):
        def __call__(self, index: int) -> list[MaskNounPair]:
            if index == 5:
                raise KeyboardInterrupt
            return super().__call__(index)

    with pytest.raises(KeyboardInterrupt):
        mine(Killed(), tmp_path / 'pairs', chunk_size=2)
    assert PairStore(tmp_path / 'pairs').missing() == [2, 3, 4]
    with pytest.raises(PairStoreError, match=r'3 of 5 files are missing .*000002.*goes on'):
        content(tmp_path / 'pairs')
    again = [Numbers(), Numbers()]
    results = [mine(source, tmp_path / 'pairs', rank=r, world=2, chunk_size=2) for r, source in enumerate(again)]
    assert again[0].asked == [4, 5, 8, 9] and again[1].asked == [6, 7]
    assert [result.missing for result in results] == [1, 0]
    mine(Numbers(), tmp_path / 'one', chunk_size=2)
    assert content(tmp_path / 'pairs') == content(tmp_path / 'one')


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    mine(Numbers(), tmp_path / 'pairs', chunk_size=2)
    with pytest.raises(PairStoreError, match=r'other settings \(a\)'):
        mine(Numbers(settings={'a': 2}), tmp_path / 'pairs', chunk_size=2)
    with pytest.raises(PairStoreError, match=r'chunk_size'):
        mine(Numbers(), tmp_path / 'pairs', chunk_size=3)


def test_a_folder_with_other_content_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / 'thesis.txt').write_text('x')
    with pytest.raises(PairStoreError, match='thesis'):
        mine(Numbers(), tmp_path)
    with pytest.raises(PairStoreError, match='holds no pairs.json'):
        list(PairStore(tmp_path).read())


def test_damage_is_named_with_file_and_line(tmp_path: Path) -> None:
    mine(Numbers(), tmp_path / 'pairs', chunk_size=10)
    path = PairStore(tmp_path / 'pairs').path(0)
    path.write_text(path.read_text() + '{"image": 1}\n')
    with pytest.raises(PairStoreError, match=r'000000\.jsonl.* damaged in line 10'):
        content(tmp_path / 'pairs')
    (tmp_path / 'pairs' / 'pairs.json').write_text(json.dumps({'format': 99}))
    with pytest.raises(PairStoreError, match='format 99'):
        content(tmp_path / 'pairs')


def test_pictures_that_cannot_be_read_are_left_out_up_to_a_limit(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match='left out: picture 4'):
        result = mine(Numbers(broken=(4,)), tmp_path / 'few')
    assert result.unreadable == ['picture 4 is damaged'] and result.pictures == 10
    assert '4.jpg' not in {image for image, _ in content(tmp_path / 'few')}
    with pytest.warns(UserWarning), pytest.raises(UnreadableFileError, match='3 pictures cannot be read'):
        mine(Numbers(broken=(1, 2, 3)), tmp_path / 'many', max_unreadable=2)


def test_shard_comes_from_torchrun() -> None:
    assert shard({}) == (0, 1) and shard({'RANK': '2', 'WORLD_SIZE': '3'}) == (2, 3)
    with pytest.raises(ValueError, match='RANK=3'):
        shard({'RANK': '3', 'WORLD_SIZE': '3'})
