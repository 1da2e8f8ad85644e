"""Jobs beside the model: order, a bounded queue, and errors with the name of their picture."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from denseclip.core.beside import Line
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
