"""Many pictures through a model: read beside the computation, run in batches, written beside it.

The order of results is that of the pictures, and what they hold does not depend on the batches.
"""

from __future__ import annotations

import functools
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from denseclip.apis.batch_sizes import BatchSize
from denseclip.apis.images import Picture, UnreadableImageError
from denseclip.apis.results.base import Result
from denseclip.core.beside import Line, reading

if TYPE_CHECKING:
    from denseclip.apis.predictor import Predictor

T = TypeVar('T')

_READERS = min(4, os.cpu_count() or 1)
_WRITERS = 2
_MOST_PIXELS = 2**26
"""Pixels of pictures that wait for others of their shape, about 200 MB."""


@dataclass(frozen=True)
class Outcome:
    """What became of a picture.

    Attributes:
        path: Its file.
        result: What was found; None where it cannot be read.
        error: Why it cannot.
        seconds: That it took, its share of a batch.
    """

    path: Path
    result: Result | None
    error: UnreadableImageError | None = None
    seconds: float = 0.0


def outcomes(
    model: Predictor,
    paths: Iterable[Any],
    batch: BatchSize,
    read: Callable[[Any], Picture] = Picture.of,
    begin: Callable[[Sequence[int]], object] = lambda places: None,
    **options: Any,
) -> Iterator[Outcome]:
    """Look at pictures; those of one shape that lie close together run together.

    Args:
        model: Any model.
        paths: The pictures: files, or what ``read`` knows.
        batch: How many run together at most.
        read: Gives a picture with its source; called by threads.
        begin: Called with the places of those that the model looks at next.
        **options: Of the model's calls.

    Yields:
        What became of each, in their order.
    """
    done: dict[int, Outcome] = {}
    waiting = _Waiting()
    expected = 0
    run = functools.partial(_run, model, batch, options, begin)
    for number, (path, found) in enumerate(_read_ahead(paths, batch, read)):
        if isinstance(found, UnreadableImageError):
            done[number] = Outcome(path, None, found)
        else:
            waiting.add(number, found)
            if waiting.full(batch.now):
                run(waiting.take(batch.now), done)
        while expected in done:
            yield done.pop(expected)
            expected += 1
    while waiting:
        run(waiting.take(batch.now), done)
    while expected in done:
        yield done.pop(expected)
        expected += 1


def _run(
    model: Predictor,
    batch: BatchSize,
    options: dict[str, Any],
    begin: Callable[[Sequence[int]], object],
    group: list[tuple[int, Picture]],
    done: dict[int, Outcome],
) -> None:
    """Run pictures of one shape; where the device's memory does not take them together, fewer of them."""
    while group:
        part, group = group[: batch.now], group[batch.now :]
        start = time.perf_counter()
        model.most_at_once = len(part)
        begin([number for number, _ in part])
        try:
            if len(part) == 1:  # as a single call: some models take another way for several
                results = [model(part[0][1], **options)]
            else:
                results = model([picture for _, picture in part], **options)
        except Exception as error:
            if not batch.shrinks(error, len(part)):
                raise
            group = part + group
            continue
        seconds = (time.perf_counter() - start) / len(part)
        batch.took(len(part), seconds)
        for (number, picture), result in zip(part, results, strict=True):
            assert picture.source is not None
            done[number] = Outcome(picture.source, result, None, seconds)


class _Waiting:
    """Pictures that wait for others of their shape."""

    def __init__(self) -> None:
        self._pictures: deque[tuple[int, Picture]] = deque()
        self._counts: dict[tuple[int, ...], int] = {}
        self._pixels = 0

    def __len__(self) -> int:
        return len(self._pictures)

    def add(self, number: int, picture: Picture) -> None:
        self._pictures.append((number, picture))
        shape = picture.rgb.shape
        self._counts[shape] = self._counts.get(shape, 0) + 1
        self._pixels += picture.rgb.size // 3

    def full(self, size: int) -> bool:
        """Whether to run some now: enough are of one shape, or too many wait."""
        enough = self._counts[self._pictures[-1][1].rgb.shape] >= size
        return enough or len(self._pictures) >= 4 * size or self._pixels > _MOST_PIXELS

    def take(self, size: int) -> list[tuple[int, Picture]]:
        """Up to ``size`` pictures of the most frequent shape, or of that of the first if it has waited long.

        Outcomes leave in the order of the pictures, so a first one that waited for ever would hold back all others.
        """
        shape = max(self._counts, key=lambda key: self._counts[key])
        (first, picture), (last, _) = self._pictures[0], self._pictures[-1]
        if self._counts[shape] < size or last - first >= 4 * size:
            shape = picture.rgb.shape
        taken = [item for item in self._pictures if item[1].rgb.shape == shape][:size]
        numbers = {number for number, _ in taken}
        self._pictures = deque(item for item in self._pictures if item[0] not in numbers)
        self._pixels -= sum(picture.rgb.size // 3 for _, picture in taken)
        self._counts[shape] -= len(taken)
        if not self._counts[shape]:
            del self._counts[shape]
        return taken


def _read_ahead(
    paths: Iterable[Any], batch: BatchSize, read: Callable[[Any], Picture]
) -> Iterator[tuple[Any, Picture | UnreadableImageError]]:
    """Pictures in their order, read by threads while others are looked at."""
    with reading(_READERS, 'read') as pool:
        ahead: deque[tuple[Any, Future[Picture | UnreadableImageError]]] = deque()
        for path in paths:
            ahead.append((path, pool.submit(_tried, read, path)))
            while len(ahead) > 2 * _READERS + batch.now:
                first, found = ahead.popleft()
                yield first, found.result()
        while ahead:
            first, found = ahead.popleft()
            yield first, found.result()


def _tried(read: Callable[[Any], Picture], path: Any) -> Picture | UnreadableImageError:
    try:
        return read(path)
    except UnreadableImageError as error:
        return error


class Beside(Generic[T]):
    """Work that is done by threads beside the caller's, a little of it at a time.

    Args:
        done: Called in the caller's thread with what each piece of work gave, in the order in which they were given.
    """

    def __init__(self, done: Callable[[T], None]) -> None:
        self._line, self._done = Line(_WRITERS), done

    def give(self, work: Callable[[], T]) -> None:
        """Let something be done; waits where much waits already.

        Raises:
            Exception: What earlier work raised.
        """
        self._line.submit('', work)
        for found in self._line.ready():
            self._done(found)

    def finish(self) -> None:
        """Wait for all work.

        Raises:
            Exception: What it raised.
        """
        for found in self._line.finish():
            self._done(found)

    def close(self) -> None:
        """Let work that has begun come to its end, and drop the rest."""
        self._line.close()


@contextmanager
def beside(done: Callable[[T], None]) -> Iterator[Beside[T]]:
    """See :class:`Beside`; all work is finished at the end, or dropped where an error ends it."""
    work = Beside(done)
    try:
        yield work
        work.finish()
    finally:
        work.close()
