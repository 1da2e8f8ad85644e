"""Many pictures give what each gives alone, in their order, in batches of one shape."""

import time

import numpy as np
import pytest
from drawn_teacher import DrawnTeacher, draw_picture

from denseclip.apis import batch_sizes
from denseclip.apis.batch_sizes import BatchSize
from denseclip.apis.pipeline import beside, outcomes
from denseclip.cli.options import batch_size


@pytest.fixture
def paths(tmp_path):
    rng = np.random.default_rng(0)
    made = [draw_picture(tmp_path / f'{k:02d}.png', k, (20, 24 + int(rng.integers(3)))) for k in range(17)]
    (tmp_path / '03.png').write_bytes(b'no picture')
    return made


@pytest.mark.parametrize('size', [1, 2, 5, 64])
def test_outcomes_are_those_of_single_calls(paths, size):
    teacher = DrawnTeacher()
    alone = {path: DrawnTeacher()(path).label_map for k, path in enumerate(paths) if k != 3}
    found = list(outcomes(teacher, paths, BatchSize(size)))
    assert [outcome.path for outcome in found] == paths
    assert found[3].result is None and '03.png' in str(found[3].error)
    for outcome in found[:3] + found[4:]:
        np.testing.assert_array_equal(outcome.result.label_map, alone[outcome.path])
        assert outcome.result.source == outcome.path
    assert max(teacher.runs) <= size and sum(teacher.runs) == len(paths) - 1
    assert len(teacher.seen) == len(set(teacher.seen))
    if size == 64:
        assert len(teacher.runs) == 3  # as many as there are shapes


def test_a_picture_of_a_rare_shape_holds_back_few_others(tmp_path):
    shapes = [(20, 24), *[(20, 30)] * 40]
    made = [draw_picture(tmp_path / f'{k:02d}.png', k, shape) for k, shape in enumerate(shapes)]
    teacher = DrawnTeacher()
    first = next(outcomes(teacher, made, BatchSize(2)))
    assert first.path == made[0] and len(teacher.seen) <= 10


def test_an_error_of_the_model_is_no_failure_of_a_picture(paths):
    teacher = DrawnTeacher()
    teacher.before = lambda seen: 1 / 0
    with pytest.raises(ZeroDivisionError):
        list(outcomes(teacher, paths, BatchSize(2)))


def test_a_batch_that_memory_does_not_take_is_divided(paths):
    import torch

    teacher = DrawnTeacher()
    find = teacher._find

    def small(image, **options):
        if isinstance(image, list) and len(image) > 2:
            raise torch.OutOfMemoryError('too much')
        return find(image, **options)

    teacher._find = small
    batch = BatchSize(8)
    found = list(outcomes(teacher, [path for path in paths if path.name != '03.png'], batch))
    assert len(found) == 16 and all(outcome.result for outcome in found) and batch.now == 2


def test_auto_stays_where_a_picture_is_cheapest(monkeypatch):
    monkeypatch.setattr(batch_sizes, '_has_room', lambda size: True)  # whatever else this machine does
    batch = BatchSize('auto')
    cost = {1: 10.0, 2: 7.0, 4: 6.0, 8: 6.0, 16: 1.0}
    sizes = []
    for _ in range(30):
        sizes.append(batch.now)
        batch.took(batch.now, cost[batch.now])
    assert sorted(set(sizes)) == [1, 2, 4, 8] and batch.now == 4


def test_a_number_stays():
    batch = BatchSize(6)
    for _ in range(9):
        batch.took(6, 1.0)
    assert batch.now == 6
    assert batch_size('auto') == 'auto' and batch_size('3') == 3
    for bad in ('0', '-1', 'x', '1e9'):
        with pytest.raises(Exception, match='whole number'):
            batch_size(bad)


def test_work_beside_is_done_in_order_and_its_errors_arrive():
    got = []
    with beside(got.append) as work:
        for k in range(20):
            work.give(lambda k=k: time.sleep(0.001 * (20 - k)) or k)
    assert got == list(range(20))

    def fail():
        raise OSError('disk full')

    with pytest.raises(OSError, match='disk full'), beside(got.append) as work:
        work.give(fail)
