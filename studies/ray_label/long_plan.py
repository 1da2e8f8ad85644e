"""The driver with very many shards: its memory and time, from the plan to the last report.

    python -m studies.ray_label.long_plan --folder long-plan --shards 100000

Simulated: tar files are empty, and an actor writes a part without rows in place of labelling. What the driver does is
real: it lists the tars, plans, hands out every number, takes every report, and reads every footer at the end.
``--here`` does without Ray, in this process; ``--parts N`` writes the first N parts alone.
"""

from __future__ import annotations

import argparse
import functools
import resource
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denseclip.apis.labelling.cluster import engine, parts
from denseclip.apis.labelling.cluster.job import Job, JobWorker
from denseclip.apis.labelling.cluster.run import Report, ShardOrder, label_source
from studies.ray_label.model import ColourModel
from studies.ray_label.nodes import memory


@dataclass
class Empty:
    """A worker that finds no picture in any shard."""

    job: Job
    parts: int

    def report(self, shard: int) -> Mapping[str, Any]:
        """Write the part."""
        if shard < self.parts:
            parts.write(self.job.place, shard, [], [], self.job.run)
        return {'shard': shard, 'new': 0}


@dataclass(frozen=True)
class EmptyJob(Job):
    """Starts :class:`Empty`."""

    parts: int = 0

    def start(self, threads: int) -> JobWorker:
        """Without a model."""
        del threads
        return Empty(self, self.parts)  # type: ignore[return-value]


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--folder', type=Path, required=True)
    parser.add_argument('--shards', type=int, default=100_000)
    parser.add_argument('--parts', type=int, help='how many are written (default: all)')
    parser.add_argument('--here', action='store_true', help='without Ray')
    args = parser.parse_args()
    folder = args.folder.resolve()
    if (folder / 'out').exists():
        parser.error(f'{folder}/out: of an earlier run; remove it first')
    begin = time.monotonic()

    def say(text: str) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        spent = used.ru_utime + used.ru_stime
        print(f'[{time.monotonic() - begin:6.0f} s, {spent:5.0f} of a core, {memory(0):5.0f} MB] {text}', flush=True)

    for number in range(args.shards):
        path = folder / f'tars/{number // 1000:04d}/{number:08d}.tar'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    say(f'{args.shards:,} empty tar files')

    def run(job: Job, shards: Sequence[int]) -> Iterator[Report]:
        say(f'{len(shards):,} shards are planned and left')
        empty = EmptyJob(**vars(job), parts=args.shards if args.parts is None else args.parts)
        if args.here:
            yield from map(empty.start(1).report, shards)
        else:
            yield from engine.run(empty, shards, engine.Cluster(actors=1))

    def track(reports: Iterable[Report], total: int) -> Iterator[Report]:
        for number, report in enumerate(reports, start=1):
            if number == 1 or number % max(1, total // 100) == 0:
                say(f'{number:,} reports')
            yield report

    load = functools.partial(ColourModel)
    done = label_source([str(folder / 'tars')], str(folder / 'out'), load, ShardOrder(), run, track=track)
    say(f'the end: {done.header.shards - len(done.left):,} of {done.header.shards:,} shards finished')


if __name__ == '__main__':
    main()
