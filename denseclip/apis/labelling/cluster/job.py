"""What every actor of a run does: the same words, model and rules."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from denseclip.apis.batch_sizes import BatchSize
from denseclip.apis.errors import UserError
from denseclip.apis.labelling.cluster.places import Place
from denseclip.apis.labelling.cluster.same import stand_in
from denseclip.apis.labelling.cluster.shard import ShardError, ShardWorker, UnusableProcessError
from denseclip.apis.labelling.cluster.sources import Source
from denseclip.apis.labelling.objects import Rules
from denseclip.apis.labelling.order import Order, call_options
from denseclip.apis.labelling.store import Run
from denseclip.apis.predictor import Predictor
from denseclip.files.names import readable

_WAITS = (1.0, 10.0)
"""Seconds before a shard is tried again whose store did not answer."""


@dataclass(frozen=True)
class Job:
    """What is done with a shard; goes to every actor once.

    Attributes:
        place: The output.
        source: What there is to label.
        run: What the output was begun with.
        rules: Which findings become objects.
        load: Loads the model, with its words; something that can be pickled.
        batch: Pictures that run together, or ``auto``.
        waits: Seconds before a shard is tried again.
        folder: The working folder of the command, which relative names are meant from.
        files: What the model is loaded from, see ``same.sums``.
    """

    place: Place
    source: Source
    run: Run
    rules: Rules
    load: Callable[[], Predictor]
    batch: int | str = 1
    waits: tuple[float, ...] = field(default=_WAITS)
    folder: str = field(default_factory=os.getcwd)
    files: Mapping[str, str] = field(default_factory=dict)

    def start(self, threads: int) -> JobWorker:
        """Load the model.

        Args:
            threads: Cores of this process.

        Raises:
            UserError: If a file of the model is not there, or another one.
        """
        stand_in(self.folder, self.files)
        model = self.load()
        torch: Any = sys.modules.get('torch')
        if torch is not None:
            torch.set_num_threads(threads)
        call = call_options(model, Order(rules=self.rules, confidences=bool(self.run.options.get('confidences'))))
        worker = ShardWorker(self.place, self.source, self.run, self.rules, model, call, BatchSize(self.batch))
        return JobWorker(worker, self.waits)


@dataclass
class JobWorker:
    """Labels shards and says what became of them."""

    worker: ShardWorker
    waits: tuple[float, ...]

    def report(self, shard: int) -> Mapping[str, Any]:
        """Label a shard.

        Returns:
            ``shard`` and ``new``, its pictures that got a row now; or ``error``, why it is left to the next run; or
            ``fatal``, why no shard can be labelled.

        Raises:
            UnusableProcessError: If the process cannot go on.
        """
        for wait in (*self.waits, None):
            try:
                facts, new = self.worker.label(shard)
            except UnusableProcessError:
                raise
            except UserError as error:
                return {'shard': shard, 'fatal': readable(error)}
            except Exception as error:  # clients of stores raise what is no OSError; the other shards go on
                if wait is None:
                    return {'shard': shard, 'error': _sentence(error)}
                time.sleep(wait)
            else:
                return {'shard': shard, 'new': facts.pictures * new}
        raise AssertionError('the last wait returns')


def _sentence(error: Exception) -> str:
    """What went wrong, on one line."""
    known = isinstance(error, OSError | ShardError) and str(error)
    return ' '.join(readable(error if known else f'{type(error).__name__}: {error}').split())
