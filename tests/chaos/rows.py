"""The faults, and which of them strike which command."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from harness import Fault, Place

WRITERS = (
    'train',
    'test',
    'label',
    'label --to masks',
    'segment',
    'anomaly',
    'export',
    'convert camvid',
    'convert cityscapes',
    'convert weights',
    'miniworld',
    'new-dataset',
    'adapt',
)
WITH_TEXT = ('label', 'segment')  # an anomaly model keeps its sentences in memory alone
READERS = ('label', 'segment', 'anomaly', 'convert camvid', 'test', 'train')


def _cut_pictures(place: Place) -> Callable[[], None]:
    """Let the command read a copy of the world with a picture of each set cut off; they are whole again later."""
    true = place.world
    place.world = place.here / 'world'
    shutil.copytree(true, place.world)
    config = place.world / 'toy.py'
    config.write_text(config.read_text().replace(str(true), str(place.world)))
    cut = [place.world / name for name in ('shots/2.jpg', 'camvid/train/train_000000.png', 'camvid/val/val_000000.png')]
    for path in cut:
        path.write_bytes(path.read_bytes()[:200])

    def undo() -> None:
        for path in cut:
            shutil.copyfile(true / path.relative_to(place.world), path)

    return undo


def _poison(place: Place) -> Callable[[], None]:
    file = place.here / 'poison'
    file.write_text('3')
    return file.unlink


def _spoil_cache(place: Place) -> Callable[[], None]:
    """A cache whose entries are damaged in three ways."""
    shutil.copytree(place.full_cache, place.cache)
    assert spoil(place.cache)
    return lambda: None


def spoil(cache: Path) -> int:
    """Damage every entry of a text cache: cut off, a flipped byte, empty, in turn."""
    entries = sorted(path for path in cache.rglob('*') if path.is_file())
    for number, path in enumerate(entries):
        content = bytearray(path.read_bytes())
        if number % 3 == 0:
            content[-7] ^= 255
        path.write_bytes((bytes(content), bytes(content[: len(content) // 2]), b'')[number % 3])
    return len(entries)


def _block_cache(place: Place) -> Callable[[], None]:
    """A file where the cache's folder should be."""
    place.cache.rmdir() if place.cache.is_dir() else None
    place.cache.write_text('no folder')

    def undo() -> None:
        os.unlink(place.cache)

    return undo


KILL = Fault('kill -9 at a write', 'kill', (-9,), silent=True)
KILL_TIME = Fault('kill -9 at any time', 'kill', (-9,), during='time', silent=True)
TERM = Fault('SIGTERM at a write', 'term', (143,))
INTERRUPT = Fault('Ctrl-C at a write', 'interrupt', (130,))
FULL = Fault('disk full', 'full', (2, 0), says='No space left|space')
READ_ONLY = Fault('disk turns read-only', 'readonly', (2, 0), says='[Rr]ead-only')
SLOW = Fault('slow disk', 'slow', (0,))
CLOCK = Fault('clock jumps back 400 days', 'clock', (0,))
WORKER = Fault('a loading process is killed', 'worker', (2,), says='num_workers')
NAN = Fault('loss becomes NaN', '', (2,), _poison, during='', says='not finite')
CUT = Fault('a picture is cut off', '', (2,), _cut_pictures, during='')
STALE = Fault('text cache damaged', '', (0,), _spoil_cache, during='', says='unusable')
NO_CACHE = Fault('text cache cannot be written', '', (0,), _block_cache, during='')

TABLE: list[tuple[str, Fault]] = [
    *((name, fault) for fault in (KILL, TERM, FULL, READ_ONLY) for name in WRITERS),
    *((name, KILL_TIME) for name in ('train', 'label', 'export', 'convert camvid')),
    *((name, INTERRUPT) for name in ('train', 'label', 'anomaly')),
    *((name, SLOW) for name in ('train', 'label', 'convert camvid')),
    *((name, CLOCK) for name in ('train', 'label', 'convert camvid', 'anomaly')),
    ('train, a worker', WORKER),
    ('train', NAN),
    *((name, CUT) for name in READERS),
    *((name, fault) for fault in (STALE, NO_CACHE) for name in WITH_TEXT),
]
