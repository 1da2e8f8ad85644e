"""The base of metrics with one result a picture: work beside the model, and shares of any size on several processes.

MMEngine's sampler repeats pictures to give all processes equally many, its ``BaseMetric`` gathers the results of all
pictures, and cuts the repeats off the end of the list. That is wrong where a picture has no result, where results are
added up as they come, and where two processes write the file of one picture at the same time.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any

from mmengine.dist import (
    all_gather_object,
    broadcast_object_list,
    collect_results,
    get_dist_info,
    is_main_process,
)
from mmengine.evaluator import BaseMetric
from torch import distributed

from denseclip.core.beside import Line

_FOLD = 32
Job = Callable[[], Any]


class PictureMetric(BaseMetric):
    """One result a picture, computed on a thread.

    A subclass has :meth:`job` and ``compute_metrics``, and where it writes a file a picture :meth:`writing`; results
    that can be added up have :meth:`fold`. A sample must not be changed after :meth:`process`.

    Args:
        *args: As of the base class.
        **kwargs: The same.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._scoring, self._files = Line(), Line()
        self._held: tuple[str, Job] | None = None
        self._taken, self._fold_at = 0, _FOLD

    @abstractmethod
    def job(self, sample: Mapping[str, Any]) -> Job:
        """What makes the result of a picture; None is no result. Called at once: what a sample lacks is raised here.

        Args:
            sample: Data sample as a dict.
        """

    def writing(self, sample: Mapping[str, Any]) -> Job | None:
        """What writes the file of a picture; None where none is written."""
        del sample
        return None

    def fold(self, results: list[Any]) -> list[Any]:
        """Results that say the same in less memory, whatever the order of the pictures."""
        return results

    def travelling(self, results: list[Any]) -> list[Any]:
        """What goes to the main process of this process' results; called on all processes at once."""
        return self.fold(results)

    @property
    def results(self) -> list[Any]:
        """Results so far, in the order of the pictures; waits for those, and for files, that are being made."""
        self._take(self._scoring.finish())
        deque(self._files.finish(), maxlen=0)
        return self._results

    @results.setter
    def results(self, results: list[Any]) -> None:
        self._results = results

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Take in a batch; its results are made beside the model.

        Args:
            data_batch: Not used.
            data_samples: Data samples as dicts, as MMEngine's evaluator passes them.

        Raises:
            Exception: What went wrong with an earlier picture, with its name.
        """
        del data_batch
        for sample in data_samples:
            self._taken += 1
            name = str(sample.get('img_path') or f'picture {self._taken}')
            self._scoring.submit(name, self.job(sample))
            self._take(self._scoring.ready())
            writing = self.writing(sample)
            if writing is not None:
                self._write_file(name, writing)

    def _take(self, results: Iterable[Any]) -> None:
        self._results.extend(results)
        if len(self._results) > self._fold_at:  # the last one may be a repeat
            self._results[:-1] = self.fold(self._results[:-1])
            self._fold_at = len(self._results) + _FOLD

    def _write_file(self, name: str, writing: Job) -> None:
        """Write the file before this one; the last one of a process may be a picture that another one writes."""
        before, self._held = self._held, (name, writing)
        if get_dist_info()[1] == 1:
            before, self._held = self._held, None
        if before is not None:
            self._files.submit(*before)
            deque(self._files.ready(), maxlen=0)

    def evaluate(self, size: int) -> dict[str, Any]:
        """Scores of the pictures of all processes; each counts once.

        Args:
            size: Pictures of the data set.

        Returns:
            Scores by name, the same on every process.

        Raises:
            ValueError: The sampler repeats more than the last picture of a process.
        """
        results, repeats = self.results, self._repeats(size)
        if max(repeats) > 1:  # said by all processes: none waits for one that has ended
            raise ValueError(
                f'{type(self).__name__}: {max(repeats)} pictures of a process are repeats of others; the sampler may '
                'only fill up the last round (DefaultSampler does)'
            )
        own = repeats[get_dist_info()[0]]
        if self._held is not None and not own:
            self._files.submit(*self._held)
        deque(self._files.finish(), maxlen=0)
        parts = self._gathered(self.travelling(results[: len(results) - own]))
        found: list[Any] = [None]
        if is_main_process():
            found = [self.compute_metrics(interleaved(parts))]
        broadcast_object_list(found)
        self._results, self._held, self._taken, self._fold_at = [], None, 0, _FOLD
        return {f'{self.prefix}/{name}' if self.prefix else name: value for name, value in found[0].items()}

    def _repeats(self, size: int) -> list[int]:
        """How many pictures of each process are repeats: process r has pictures r, r + processes, ..."""
        taken = all_gather_object(self._taken)
        if sum(taken) <= size:
            return [0] * len(taken)
        return [max(0, count - len(range(rank, size, len(taken)))) for rank, count in enumerate(taken)]

    def _gathered(self, part: list[Any]) -> list[list[Any]]:
        """The parts of all processes on the main one; nothing elsewhere. Files only where the backend needs them."""
        rank, processes = get_dist_info()
        if processes == 1:
            return [part]
        if distributed.get_backend() == 'gloo':
            parts: list[Any] | None = [None] * processes if rank == 0 else None
            distributed.gather_object(part, parts)
            return parts or []
        # each process sends one thing, its list; MMEngine's own order and cut are for lists without gaps
        options = {'tmpdir': self.collect_dir} if self.collect_device == 'cpu' else {}
        return collect_results([part], processes, self.collect_device, **options) or []


def interleaved(parts: Sequence[Sequence[Any]]) -> list[Any]:
    """Results of all processes in the order of the data set, without those of pictures that have none."""
    return [result for result in chain.from_iterable(zip_longest(*parts)) if result is not None]
