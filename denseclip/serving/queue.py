"""Requests wait in line for the one thread that runs the model; those that are alike run together."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class Job:
    """One request of the model.

    Attributes:
        key: What is alike in all that run together.
        picture: What differs.
        answer: Gets the result, or the error.
    """

    key: Hashable
    picture: Any
    answer: Future[Any] = field(default_factory=Future)


class Line:
    """Jobs in the order in which they came, and the thread that does them.

    Nobody waits for company: a job takes along those behind it that are like it. One whose asker has gone is dropped.

    Args:
        run: Gets a key and pictures, gives a result for each.
        most: Pictures that run together.
        told: Called with the number of pictures of each run.
    """

    def __init__(
        self, run: Callable[[Any, Sequence[Any]], Sequence[Any]], most: int, told: Callable[[int], None] | None = None
    ) -> None:
        self._run, self._most, self._told = run, most, told
        self._jobs: deque[Job] = deque()
        self._change = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name='model', daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._jobs)

    def ask(self, key: Hashable, picture: Any) -> Future[Any]:
        """Put a job at the end of the line.

        Raises:
            RuntimeError: If the line is closed.
        """
        job = Job(key, picture)
        with self._change:
            if self._closed:
                raise RuntimeError('the line is closed')
            self._jobs.append(job)
            self._change.notify()
        job.answer.add_done_callback(self._leave)  # which holds no job: the answer outlives the picture
        return job.answer

    def _leave(self, answer: Future[Any]) -> None:
        """Drop a job whose asker has gone: its picture is not kept until it would be its turn."""
        if answer.cancelled():
            with self._change:
                self._jobs = deque(job for job in self._jobs if job.answer is not answer)

    def close(self) -> None:
        """Take no more jobs, and wait for those that are in line."""
        with self._change:
            self._closed = True
            self._change.notify()
        self._thread.join()

    def _work(self) -> None:
        while group := self._next():
            self._do(group)
            del group  # while nobody asks, no picture is kept

    def _next(self) -> list[Job]:
        """The first job with those like it; none when the line is closed and empty."""
        with self._change:
            while True:
                group: list[Job] = []
                rest: deque[Job] = deque()
                for job in self._jobs:
                    alike = not group or job.key == group[0].key
                    if not (alike and len(group) < self._most):
                        rest.append(job)
                    elif job.answer.set_running_or_notify_cancel():
                        group.append(job)
                self._jobs = rest
                if group or self._closed:
                    return group
                self._change.wait()

    def _do(self, group: list[Job]) -> None:
        if self._told is not None:
            self._told(len(group))
        if self._answer(group):
            return
        torch: Any = sys.modules.get('torch')
        if torch is not None:
            torch.cuda.empty_cache()  # of what a batch held that was too large
        for job in group:  # one of them may be to blame, and the others not
            self._do([job])

    def _answer(self, group: list[Job]) -> bool:
        """Run jobs and answer them; False after an error of several, of which nothing is alive any more then."""
        try:
            results = list(self._run(group[0].key, [job.picture for job in group]))
            if len(results) != len(group):
                raise RuntimeError(f'{len(results)} results for {len(group)} pictures')
        except Exception as error:  # whatever it is, it belongs to those who asked
            if len(group) == 1:
                group[0].answer.set_exception(error)
            return len(group) == 1
        for job, result in zip(group, results, strict=True):
            job.answer.set_result(result)
        return True
