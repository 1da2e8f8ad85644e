"""Jobs on threads beside the model: counting, packing and writing of one picture while the next is computed."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

_THREADS = 4
_WAITING = 4  # jobs that may wait for each thread; every one holds maps of a picture


class Line:
    """A queue of jobs with few threads; their results come back in the order in which the jobs were given.

    NumPy, OpenCV, Pillow's writers, torch and the disk let other threads go on while they work.

    Args:
        threads: How many; default: half of the processor's cores, 1 to 4.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads or max(1, min(_THREADS, (os.cpu_count() or 1) // 2))
        self._pool: ThreadPoolExecutor | None = None
        self._jobs: deque[tuple[str, Future[Any]]] = deque()

    def submit(self, name: str, job: Callable[[], Any]) -> None:
        """Let a job run; :meth:`ready` follows.

        Args:
            name: Of the picture, for errors; empty where they name it themselves.
            job: What it uses must not be changed any more.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix='beside the model')
        self._jobs.append((name, self._pool.submit(job)))

    def ready(self) -> Iterator[Any]:
        """Results of the oldest jobs that are done; while too many wait, this waits for the oldest.

        Raises:
            Exception: What a job raised, with the name of its picture unless it is of a file; the jobs that still
                waited are dropped.
        """
        while self._jobs and (self._jobs[0][1].done() or len(self._jobs) > self._threads * _WAITING):
            yield self._next()

    def finish(self) -> Iterator[Any]:
        """Results that were not given yet; waits for all jobs and ends the threads. Raises as :meth:`ready`."""
        while self._jobs:
            yield self._next()
        self.close()

    def _next(self) -> Any:
        name, job = self._jobs.popleft()
        try:
            return job.result()
        except Exception as error:
            self.close()
            if isinstance(error, OSError) or name in str(error):  # of a file, which it names
                raise
            raise _named(error, name) from error
        finally:
            del job  # it holds the error, whose traceback holds this frame and with it all that the callers hold

    def close(self) -> None:
        """Let jobs that have begun come to their end, and drop the rest."""
        self._jobs.clear()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(cancel_futures=True)  # a fork with threads of its own would be a risk for the next loader


@contextmanager
def reading(threads: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Threads that read ahead for a generator.

    At the end they are waited for. Where the generator is left before its end nobody waits: it may be the garbage
    collector that closes it, in any thread and inside locks of ``threading`` that threads need to end.

    Args:
        threads: How many.
        name: What their names begin with.

    Yields:
        The pool.
    """
    pool, whole = ThreadPoolExecutor(threads, thread_name_prefix=name), False
    try:
        yield pool
        whole = True
    finally:
        pool.shutdown(wait=whole, cancel_futures=True)


def _named(error: Exception, name: str) -> Exception:
    """The same kind of error with a name before its text; kinds that take other arguments become one that does not."""
    try:
        return type(error)(f'{name}: {error}')
    except Exception:  # whatever the constructor of somebody's class wants
        return (ValueError if isinstance(error, ValueError) else RuntimeError)(f'{name}: {error}')
