"""Pictures of many sizes, and draws that stay with a picture."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from denseclip.datasets.transforms import DrawnOnce, RandomPart


def picture(height: int, width: int) -> np.ndarray:
    """Every pixel says where it is."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, rows * 0], axis=-1).astype(np.uint8)


def part(height: int, width: int, seed: int = 0, **settings: Any) -> np.ndarray:
    np.random.seed(seed)  # noqa: NPY002
    return RandomPart(**{**dict(least=32, multiple=8), **settings})(dict(img=picture(height, width)))['img']


def test_a_part_is_cut_out_as_it_is_with_whole_multiples_no_side_below_the_least():
    sizes = set()
    for seed in range(40):
        found = part(120, 90, seed, prob=1.0)
        height, width = found.shape[:2]
        assert height % 8 == width % 8 == 0 and 32 <= width <= 90 and 48 - 8 < height <= 120
        top, left = int(found[0, 0, 0]), int(found[0, 0, 1])
        assert np.array_equal(found, picture(120, 90)[top : top + height, left : left + width])
        sizes.add((height, width))
    assert len(sizes) > 10


def test_the_whole_picture_is_resized_down_to_multiples_and_a_small_one_up_to_the_least():
    assert part(120, 90, prob=0.0).shape == (120, 88, 3)
    assert part(20, 51, prob=1.0).shape == (32, 80, 3)
    assert part(64, 48, prob=0.0).shape == (64, 48, 3)


def test_labels_and_shares_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match='without labels'):
        RandomPart()(dict(img=picture(40, 40), gt_seg_map=picture(40, 40)[..., 0]))
    with pytest.raises(ValueError, match='least=20'):
        RandomPart(least=20, multiple=16)
    with pytest.raises(ValueError, match='shares of 1'):
        RandomPart(share=(0.5, 0.2))


def test_draws_stay_with_a_picture_and_leave_the_generators_alone():
    once = DrawnOnce([dict(type=RandomPart, least=32, multiple=8), dict(type='RandomFlip', prob=0.5)])

    def draw(name: str, transform: DrawnOnce = once) -> np.ndarray:
        return transform(dict(img=picture(120, 90), img_path=f'some/where/{name}.jpg'))['img']

    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    state = np.random.get_state()[2], random.getstate()  # noqa: NPY002
    first = {name: draw(name) for name in 'abcdef'}
    assert (np.random.get_state()[2], random.getstate()) == state  # noqa: NPY002
    np.random.random(5)  # noqa: NPY002
    for name, found in reversed(first.items()):
        assert np.array_equal(draw(name), found)
    assert len({found.shape for found in first.values()}) > 2
    other = DrawnOnce([dict(type=RandomPart, least=32, multiple=8), dict(type='RandomFlip', prob=0.5)], seed=1)
    assert any(draw(name, other).shape != found.shape for name, found in first.items())
