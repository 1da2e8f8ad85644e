"""Drawn pictures in folders, tables and archives, and shards that run in this process."""

import io
import os
import signal
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from drawn_teacher import DrawnTeacher, draw_picture

WORDS = 'road; car; sky'


class Died(BaseException):
    """The end of a process."""


class Fragile(DrawnTeacher):
    """Its process is killed at the third picture, once."""

    def __init__(self, mark):
        super().__init__(WORDS)
        self._mark = mark

    def _result(self, picture):
        if len(self.seen) == 3 and not os.path.exists(self._mark):
            os.mkdir(self._mark)
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._result(picture)


@dataclass
class Load:
    """Loads a model of the words in a file."""

    name: str

    def __call__(self):
        return DrawnTeacher(Path(self.name).read_text())


def pictures(folder, count, size=(16, 20)):
    """Picture files by name, bytes of each."""
    for place in range(count):
        draw_picture(folder / f'{place % 3}' / f'{place:02d}.png', place, (size[0] + place % 2, size[1]))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob('*.png'))}


def archive(path, content, end=True):
    """A tar file; without its end the last member is cut."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w') as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        length = out.tell()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(out.getvalue() if end else out.getvalue()[: length - 700])


def table(path, content, group=100):
    """A Parquet file as Hugging Face's data sets are."""
    rows = [{'image': {'bytes': data, 'path': name}} for name, data in content.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=group)


def one_process(job, shards):
    """Runs shards here; a process that ends is followed by the next, as Ray does it."""
    for shard in shards:
        for _ in range(20):
            try:
                yield job.start(1).report(shard)
                break
            except Died:
                continue
        else:
            raise AssertionError(f'shard {shard} kills every process')


def label(source, out, teacher=None, run=one_process, **options):
    """Label in this process."""
    from denseclip.apis.labelling.cluster.run import (  # heavy; processes of a cluster need it not
        ShardOrder,
        label_source,
    )

    model = teacher or DrawnTeacher(WORDS)
    named = [str(source)] if not isinstance(source, list) else [str(name) for name in source]
    return label_source(named, str(out), lambda: model, ShardOrder(**{'shard_size': 5, **options}), run)


def rows_of(out):
    """All rows of an output."""
    return [row for path in sorted((out / 'shards').glob('*.parquet')) for row in pq.read_table(path).to_pylist()]
