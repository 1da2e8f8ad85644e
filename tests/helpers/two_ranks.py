"""Run a function in two processes of one gloo group, forked from the test's: nothing is imported again."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
from torch import distributed


def two_ranks(function: Callable[[], Any], folder: Path) -> list[Any]:
    """What the function returns on each rank.

    Args:
        function: Called on every rank; what it returns can be pickled.
        folder: An empty one, to meet in.

    Raises:
        RuntimeError: With the traceback of the rank that failed first.
    """
    context = multiprocessing.get_context('fork')
    workers, ends = [], []
    for rank in range(2):
        own, other = context.Pipe(duplex=False)
        worker = context.Process(target=_work, args=(rank, function, folder, other), daemon=True)
        worker.start()
        other.close()
        workers.append(worker)
        ends.append(own)
    answers: dict[int, Any] = {}
    try:
        while len(answers) < len(ends):
            ready = wait([end for rank, end in enumerate(ends) if rank not in answers], timeout=60)
            for end in ready:
                right, answers[ends.index(end)] = end.recv()
                if not right:  # the other rank may wait for this one for ever
                    raise RuntimeError(answers[ends.index(end)])
            if not ready:
                raise RuntimeError('no answer after a minute')
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
    return [answers[rank] for rank in range(len(ends))]


def _work(rank: int, function: Callable[[], Any], folder: Path, end: Connection) -> None:
    torch.set_num_threads(1)  # the parent's OpenMP threads did not survive the fork
    os.environ.update(RANK=str(rank), WORLD_SIZE='2', LOCAL_RANK=str(rank))
    try:
        distributed.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
        end.send((True, function()))
        distributed.barrier()
    except BaseException:
        end.send((False, f'rank {rank}:\n{traceback.format_exc()}'))
