"""Jobs are done in their order, like ones together, each with its own answer."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from denseclip.serving.queue import Line


class Model:
    """Notes what runs together; runs when it is let."""

    def __init__(self):
        self.runs, self.go, self.begun = [], threading.Event(), threading.Event()

    def __call__(self, key, pictures):
        self.begun.set()
        assert self.go.wait(20)
        self.runs.append((key, list(pictures)))
        if 'bad' in pictures:
            raise ValueError('bad')
        return [(key, picture) for picture in pictures]


@pytest.fixture
def model():
    return Model()


def test_like_ones_run_together_and_nobody_waits_for_company(model):
    line = Line(model, 3)
    first = line.ask('a', 0)
    assert model.begun.wait(20)
    rest = [line.ask(key, number) for number, key in enumerate('abababa', start=1)]
    model.go.set()
    answers = [job.result(20) for job in (first, *rest)]
    line.close()
    assert answers == [('a', 0), *((key, number) for number, key in enumerate('abababa', start=1))]
    assert model.runs == [('a', [0]), ('a', [1, 3, 5]), ('b', [2, 4, 6]), ('a', [7])]


def test_a_bad_picture_spoils_no_other(model):
    line = Line(model, 8)
    first = line.ask('x', 0)
    assert model.begun.wait(20)
    jobs = [line.ask('a', picture) for picture in (1, 'bad', 2)]
    model.go.set()
    assert [jobs[0].result(20), jobs[2].result(20)] == [('a', 1), ('a', 2)]
    with pytest.raises(ValueError, match='bad'):
        jobs[1].result(20)
    assert first.result(20)
    line.close()


def test_who_has_gone_is_not_served(model):
    line = Line(model, 1)
    line.ask('a', 0)
    assert model.begun.wait(20)
    gone, stays = line.ask('a', 1), line.ask('a', 2)
    assert gone.cancel()
    assert len(line) == 1  # it is dropped at once, and its picture with it
    model.go.set()
    assert stays.result(20) == ('a', 2)
    line.close()
    assert ('a', [1]) not in model.runs


def test_closing_answers_those_in_line_and_takes_no_more(model):
    line = Line(model, 1)
    jobs = [line.ask('a', number) for number in range(3)]
    threading.Timer(0.1, model.go.set).start()
    line.close()
    assert [job.result(0) for job in jobs] == [('a', number) for number in range(3)]
    with pytest.raises(RuntimeError):
        line.ask('a', 3)


def test_a_picture_is_kept_no_longer_than_its_asker_waits(model):
    class Picture:
        pass

    line = Line(model, 1)
    line.ask('a', 0)
    assert model.begun.wait(20)
    picture = Picture()
    kept = weakref.ref(picture)
    gone = line.ask('a', picture)
    del picture
    assert kept() is not None and gone.cancel()
    gc.collect()
    assert kept() is None
    model.go.set()
    line.close()


def test_what_a_failed_batch_held_is_gone_before_its_pictures_run_alone():
    """As the tensors of a batch that was too large for the device."""

    class Tensor:
        pass

    held, alive, begun, go = [], [], threading.Event(), threading.Event()

    def run(key, pictures):
        begun.set()
        assert go.wait(20)
        alive.append([kept() is not None for kept in held])
        tensor = Tensor()
        held.append(weakref.ref(tensor))
        if len(pictures) > 1:
            raise MemoryError
        return pictures

    line = Line(run, 8)
    first = line.ask('x', 0)
    assert begun.wait(20)
    jobs = [line.ask('a', number) for number in (1, 2)]
    go.set()
    assert [job.result(20) for job in (first, *jobs)] == [0, 1, 2]
    line.close()
    assert alive == [[], [False], [False] * 2, [False] * 3]
