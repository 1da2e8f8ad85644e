"""Two processes of one group, for tests of distributed training."""

from __future__ import annotations

import os
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any

import torch
from torch import distributed, multiprocessing


def in_two_processes(function: Callable[..., None], *args: Any) -> None:
    """Run a function in two processes of one group; they are forked, so that nothing is imported again."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context('fork')
    children = [context.Process(target=_child, args=(rank, port, function, args)) for rank in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    hanging = [child for child in children if child.is_alive()]
    for child in hanging:
        child.kill()
    assert not hanging
    assert [child.exitcode for child in children] == [0, 0]


def _child(rank: int, port: int, function: Callable[..., None], args: tuple[Any, ...]) -> None:
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port)
    )
    torch.set_num_threads(1)
    try:
        function(*args)
        distributed.destroy_process_group()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)
