"""Jobs beside the model: order, a bounded queue, and errors with the name of their picture."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from denseclip.core.beside import Line, reading
from denseclip.evaluation import SemanticMetric


def test_results_keep_the_order_of_the_jobs() -> None:
    line = Line(threads=3)
    found = []
    for number in range(20):
        line.submit(str(number), lambda n=number: time.sleep(0.002 * (n % 3)) or n)
        found += line.ready()
    found += line.finish()
    assert found == list(range(20))
    assert not list(line.finish())


def test_no_more_jobs_wait_than_there_is_room_for() -> None:
    line, gate, started = Line(threads=1), threading.Event(), threading.Semaphore(0)
    given = []

    def give() -> None:
        for number in range(12):
            line.submit(str(number), lambda: started.release() or gate.wait(10))
            list(line.ready())
            given.append(number)

    giver = threading.Thread(target=give)
    giver.start()
    assert started.acquire(timeout=10)
    time.sleep(0.1)
    held = len(given)
    gate.set()
    giver.join(10)
    assert len(list(line.finish())) < 12
    assert held < 12 and len(given) == 12


def test_an_error_names_the_picture_and_ends_the_line() -> None:
    line = Line(threads=1)
    with pytest.raises(ValueError, match=r'^a\.png: matmul'):
        line.submit('a.png', lambda: np.zeros((2, 2)) @ np.zeros(3))
        list(line.finish())
    assert not list(line.finish()) and not [t for t in threading.enumerate() if t.name.startswith('beside the model')]


def test_a_generator_that_is_left_waits_for_no_thread() -> None:
    """The garbage collector may be the one who closes it, where whoever waits would wait for ever."""
    gate, ended = threading.Event(), threading.Event()

    def jobs():
        with reading(1, 'left') as pool:
            yield pool.submit(gate.wait, 60)

    running = jobs()
    job = next(running)
    threading.Thread(target=lambda: (running.close(), ended.set())).start()
    left = ended.wait(10)
    gate.set()
    assert left, 'it waits for its thread'
    assert job.result(10)


def test_a_generator_that_comes_to_its_end_leaves_no_thread() -> None:
    def numbers():
        with reading(2, 'whole') as pool:
            yield from pool.map(abs, [-1, -2, -3])

    assert list(numbers()) == [1, 2, 3]
    assert not [t for t in threading.enumerate() if t.name.startswith('whole')]


def test_a_failed_job_is_no_part_of_a_ring() -> None:
    """What the callers hold, threads that read pictures among it, goes with the error and not when a collector runs."""
    alive = weakref.WeakSet()

    class Held:
        """Stands for what a caller holds."""

    def caller() -> None:
        held = Held()
        alive.add(held)
        line = Line(threads=1)
        line.submit('a.png', Path('/nowhere/a.png').read_bytes)
        list(line.finish())

    gc.disable()
    try:
        with pytest.raises(FileNotFoundError):
            caller()
        assert not alive
    finally:
        gc.enable()


class Picky(Exception):
    """Takes two arguments."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


@pytest.mark.parametrize(
    ('error', 'kind'),
    [
        (KeyError('gt'), KeyError),
        (torch.OutOfMemoryError('x'), torch.OutOfMemoryError),
        (Picky('x', 'y'), RuntimeError),
    ],
)
def test_errors_keep_their_kind_where_they_can(error: Exception, kind: type[Exception]) -> None:
    line = Line(threads=1)

    def fail() -> None:
        raise error

    line.submit('a.png', fail)
    with pytest.raises(kind, match=r'a\.png: ') as caught:
        list(line.finish())
    assert caught.value.__cause__ is error


def test_a_label_map_that_cannot_be_written_ends_the_test(tmp_path) -> None:
    (tmp_path / 'maps').touch()  # no folder
    metric = SemanticMetric(output_dir=tmp_path / 'maps')
    metric.dataset_meta = dict(classes=('a', 'b'))
    plane = dict(data=torch.zeros(1, 4, 4, dtype=torch.long))
    with pytest.raises(OSError, match='maps'):
        metric.process(None, [dict(pred_sem_seg=plane, gt_sem_seg=plane, img_path='x/p.jpg')])
        metric.evaluate(1)


def test_a_prediction_that_does_not_fit_is_named() -> None:
    metric = SemanticMetric()
    metric.dataset_meta = dict(classes=('a', 'b'))
    plane, wide = (dict(data=torch.zeros(1, 4, side, dtype=torch.long)) for side in (4, 5))
    with pytest.raises(ValueError, match=r'x/p\.jpg: .* differ in shape'):
        metric.process(None, [dict(pred_sem_seg=plane, gt_sem_seg=wide, img_path='x/p.jpg')])
        metric.evaluate(1)
