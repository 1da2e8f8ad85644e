"""20,000 pictures on two nodes while an actor, a node and the driver are killed; counts, memory, pictures a second.

    nice -n 10 python -m studies.ray_label --folder ray-label

One picture kills every process that looks at it, one cannot be read. Both nodes are processes of this machine with one
core each. The second part waits 8 ms a picture in place of computing, so that two actors do not share a core's time.

    python -m studies.ray_label --folder ray-label --part kill --pictures 2000 --store 's3://bucket/{}'

takes the pictures from a store and puts results there; ``{}`` stands for a name, as in ``dir://{}::file:///mnt/x``.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from denseclip.apis.labelling.cluster.places import LETTERS, PARTS, TRIES, Place
from studies.ray_label.model import COLOURS, POISON
from studies.ray_label.nodes import Node, environment, memory

_OF_TAR = 200
_POISON, _UNREADABLE = (30, 77), (5, 11)
"""Tar and place of the bad pictures."""


def draw(target: Place, pictures: int) -> None:
    """Tar files of small drawn pictures."""
    colours = np.array(list(COLOURS.values()), np.int16)
    for tar in range(pictures // _OF_TAR):
        rng = np.random.default_rng(tar)
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode='w') as archive:
            for place in range(_OF_TAR):
                coarse = rng.integers(0, len(colours), (5, 5))
                plane = colours[np.kron(coarse, np.ones((13, 13), int))[:64, :64]] + rng.integers(-20, 20, (64, 64, 1))
                pixels = np.clip(plane, 0, 255).astype(np.uint8)
                if (tar, place) == _POISON:
                    pixels[0, 0] = POISON
                data = io.BytesIO()
                Image.fromarray(pixels).save(data, 'PNG')
                content = data.getvalue()[:100] if (tar, place) == _UNREADABLE else data.getvalue()
                member = tarfile.TarInfo(f'{tar:04d}-{place:03d}.png')
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        target.put(f'{tar:04d}.tar', out.getvalue())


class Driver:
    """A driver that runs; samples its memory whenever it is asked how far it is."""

    def __init__(self, folder: Path, source: str, out: str, port: int, actors: int = 2, wait: float = 0.0) -> None:
        self.out, self.memory = Place(out), []  # type: ignore[var-annotated]
        self._log = folder / 'driver.log'
        words = [source, out, str(port), str(actors), str(wait)]
        with self._log.open('wb') as log:
            self.process = subprocess.Popen(
                [sys.executable, '-m', 'studies.ray_label.drive', *words],
                stdout=log,
                stderr=log,
                env=environment(folder),
            )

    def parts(self) -> int:
        """Finished shards."""
        self.memory.append(memory(self.process.pid))
        return sum(1 for _ in self.out.names(PARTS))

    def until(self, parts: int) -> None:
        """Wait for so many finished shards."""
        while self.parts() < parts:
            if self.process.poll() is not None:
                raise SystemExit(f'the driver has ended: {self._log.read_text()[-2000:]}')
            time.sleep(0.5)

    def end(self) -> dict[str, int]:
        """Wait for its end, and what it says."""
        while self.process.poll() is None:
            self.parts()
            time.sleep(0.5)
        text = self._log.read_text()
        if self.process.returncode:
            raise SystemExit(f'the driver failed: {text[-2000:]}')
        return json.loads(text.strip().splitlines()[-1])


def kill_everything(folder: Path, store: str, pictures: int, port: int, say: Callable[[str], None]) -> None:
    """The first part: actor, node and driver are killed, and the same command ends it."""
    source, out = store.format('tars'), store.format('out')
    shards = pictures // _OF_TAR
    head, worker = Node(folder, port, head=True), Node(folder, port, head=False)
    try:
        driver = Driver(folder, source, out, port)
        driver.until(shards // 10)
        actor = (worker.processes('ray::MapWorker') or head.processes('ray::MapWorker'))[0]
        os.kill(actor, signal.SIGKILL)
        say(f'after {driver.parts()} of {shards} shards: actor {actor} killed')
        driver.until(shards // 4)
        worker.kill()
        say(f'after {driver.parts()} shards: worker node killed')
        driver.until(shards // 2)
        driver.process.kill()
        driver.process.wait()
        say(f'after {driver.parts()} shards: driver killed; the same command again, with a new node')
        first, worker = driver.memory[:-1], Node(folder, port, head=False)
        driver = Driver(folder, source, out, port)
        said = driver.end()
        say(f'the second driver says: {said}')
        for name, run in (('first', first), ('second', driver.memory)):
            flat = [value for value in run if value]
            tenths = [round(flat[len(flat) * k // 10]) for k in range(10)]
            say(f'resident MB of the {name} driver, in tenths of its time: {tenths}, most {max(flat):.0f}')
        count(Place(source), Place(out), say)
    finally:
        worker.kill()
        head.kill()


def count(source: Place, out: Place, say: Callable[[str], None]) -> None:
    """Every picture of the source, and what became of it."""
    wanted: Counter[tuple[str, str]] = Counter()
    for file in sorted(source.names()):
        with tarfile.open(fileobj=io.BytesIO(source.get(file) or b'')) as archive:
            wanted.update((file, Path(name).stem) for name in archive.getnames())
    rows: Counter[tuple[str, str]] = Counter()
    size = 0
    for file in out.names(PARTS):
        content = out.get(f'{PARTS}/{file}') or b''
        table = pq.read_table(io.BytesIO(content), columns=['source', 'key'])
        rows.update(zip(table['source'].to_pylist(), table['key'].to_pylist(), strict=True))
        size += len(content)
    letters = (out.get(LETTERS) or b'').decode().splitlines()[1:]
    dead = {tuple(line.split(',')[1::-1]) for line in letters}
    twice = sum(number > 1 for number in rows.values())
    missing = sum(key not in rows and key not in dead for key in wanted)
    say(
        f'pictures {len(wanted)}, results {sum(rows.values())}, duplicates {twice}, missing {missing}, '
        f'strangers {len(rows.keys() - wanted.keys())}, dead letters {len(letters)}, both {len(dead & rows.keys())}'
    )
    for line in letters:
        say(f'  {line}')
    marks = sum(1 for _ in out.names(TRIES))
    say(f'{size / sum(rows.values()):.0f} bytes of Parquet a picture; marks left in tries/: {marks}')


def speed(folder: Path, port: int, say: Callable[[str], None]) -> None:
    """The second part: a model that waits 8 ms a picture, on one actor and on two."""
    few = folder / 'few'
    if not few.exists():
        draw(Place(str(few)), 20 * _OF_TAR)
        (few / f'{_UNREADABLE[0]:04d}.tar').unlink()
    head, worker = Node(folder, port, head=True), Node(folder, port, head=False)
    rates = {}
    try:
        for actors in (1, 2):
            out = folder / f'speed-{actors}'
            Driver(folder, str(few), str(out), port, actors, 0.008).end()
            times = sorted(path.stat().st_mtime for path in (out / 'shards').glob('part-*.parquet'))[actors:]
            rates[actors] = _OF_TAR * (len(times) - 1) / (times[-1] - times[0])
            say(f'{actors} actors: {rates[actors]:.1f} pictures/s from the first shards to the last')
        say(f'ratio {rates[2] / rates[1]:.2f}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores')
    finally:
        worker.kill()
        head.kill()


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--folder', type=Path, required=True)
    parser.add_argument('--pictures', type=int, default=20_000)
    parser.add_argument('--port', type=int, default=6390)
    parser.add_argument('--part', choices=('kill', 'speed', 'both'), default='both')
    parser.add_argument('--store', metavar='URL', help='of pictures and results, with {} (default: the folder)')
    args = parser.parse_args()
    args.folder = args.folder.resolve()  # nodes and drivers have other working folders
    args.folder.mkdir(parents=True, exist_ok=True)
    store = args.store or f'{args.folder}/{{}}'
    outs = {'kill': [store.format('out')], 'speed': [f'{args.folder}/speed-{actors}' for actors in (1, 2)]}
    there = [out for part, some in outs.items() if args.part in (part, 'both') for out in some]
    there = [out for out in there if any(Place(out).names())]
    if there:
        parser.error(f'{", ".join(there)}: of an earlier run, which this one would go on with; remove it first')
    begin = time.monotonic()

    def say(text: str) -> None:
        print(f'[{time.monotonic() - begin:6.0f} s] {text}', flush=True)

    if sum(1 for _ in Place(store.format('tars')).names()) < args.pictures // _OF_TAR:
        draw(Place(store.format('tars')), args.pictures)
        say(f'{args.pictures} pictures drawn')
    if args.part in ('kill', 'both'):
        kill_everything(args.folder, store, args.pictures, args.port, say)
    if args.part in ('speed', 'both'):
        speed(args.folder, args.port + 1, say)


if __name__ == '__main__':
    main()
