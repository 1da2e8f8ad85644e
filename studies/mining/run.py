"""The loop of mining: sharded over processes, resumable after a kill."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from denseclip.datasets.files import UnreadableFileError
from denseclip.datasets.pair_store import MaskNounPair, PairStore

from .sources import PairSource


@dataclass
class MiningResult:
    """What one process did.

    Attributes:
        pictures: Pictures looked at now, not counting those of files that were there already.
        pairs: Pairs written now.
        unreadable: Messages of pictures that could not be read.
        missing: Files that are still missing, of all processes.
    """

    pictures: int = 0
    pairs: int = 0
    unreadable: list[str] = field(default_factory=list)
    missing: int = 0


def shard(environment: Mapping[str, str] | None = None) -> tuple[int, int]:
    """Rank and number of processes, as torchrun says them; ``(0, 1)`` without it.

    Args:
        environment: Default: that of this process.

    Raises:
        ValueError: If the numbers make no sense.
    """
    environment = os.environ if environment is None else environment
    rank, world = int(environment.get('RANK', 0)), int(environment.get('WORLD_SIZE', 1))
    if not 0 <= rank < world:
        raise ValueError(f'RANK={rank} and WORLD_SIZE={world} do not fit each other')
    return rank, world


def mine(
    source: PairSource,
    out: str | Path,
    *,
    rank: int = 0,
    world: int = 1,
    chunk_size: int = 64,
    max_unreadable: int = 20,
    progress: Callable[[], object] | None = None,
) -> MiningResult:
    """Write the pairs of all pictures that belong to this process.

    Process ``rank`` of ``world`` writes files ``rank, rank + world, ...``; those that are there already are left alone,
    so the same command goes on after a kill, with any number of processes. No process waits for another.

    Args:
        source: Pictures and their pairs.
        out: Folder of the pairs; see :mod:`denseclip.datasets.pair_store`.
        rank: Number of this process.
        world: Number of processes.
        chunk_size: Pictures per file, which is what a kill can cost.
        max_unreadable: Stop when more pictures than this cannot be read; up to here they are left out with a warning.
        progress: Called after each picture.

    Returns:
        What was done.

    Raises:
        PairStoreError: If ``out`` was begun with other settings.
        UnreadableFileError: If too many pictures cannot be read.
    """
    store, result = PairStore(out), MiningResult()
    store.begin(source.describe(), len(source), chunk_size)
    for chunk in range(rank, store.num_chunks, world):
        if store.path(chunk).is_file():
            continue
        pairs: list[MaskNounPair] = []
        for index in range(chunk * chunk_size, min((chunk + 1) * chunk_size, len(source))):
            try:
                pairs += source(index)
            except UnreadableFileError as error:
                _note(result, str(error), max_unreadable)
            result.pictures += 1
            if progress is not None:
                progress()
        store.write(chunk, pairs)
        result.pairs += len(pairs)
    result.missing = len(store.missing())
    return result


def _note(result: MiningResult, message: str, limit: int) -> None:
    result.unreadable.append(message)
    if len(result.unreadable) > limit:
        raise UnreadableFileError(f'{len(result.unreadable)} pictures cannot be read, the last: {message}')
    warnings.warn(f'left out: {message}', stacklevel=3)
