"""Errors that no picture is to blame for convict none, and no shard is passed over."""

import errno
import os
from dataclasses import replace

import pytest
import torch
from drawn_shards import WORDS, Died, label, one_process, pictures, rows_of, table
from drawn_teacher import DrawnTeacher

from denseclip.apis.errors import UserError
from denseclip.apis.labelling.cluster import members, parts
from denseclip.apis.labelling.cluster.engine import Cluster, _room
from denseclip.apis.labelling.cluster.places import Place
from denseclip.apis.labelling.cluster.shard import UnusableProcessError

COUNT = 4


@pytest.fixture
def shots(tmp_path):
    pictures(tmp_path / 'shots', COUNT)
    return tmp_path / 'shots'


def quickly(job, shards):
    return one_process(replace(job, waits=(0.0, 0.0)), shards)


class ClientError(Exception):
    """As botocore and gcsfs have them."""


def test_a_store_that_answers_one_picture_less_convicts_nobody(shots, tmp_path, monkeypatch):
    """Whatever its client raises, and however often the shard was begun."""
    right = members._fetch

    def fetch(system, path):
        def fail():
            raise ClientError('SlowDown')

        return fail if path.endswith('01.png') else right(system, path)

    monkeypatch.setattr(members, '_fetch', fetch)
    for _ in range(3):
        found = label(shots, tmp_path / 'out', run=quickly)
        assert (found.pictures, found.letters) == (0, 0) and 'SlowDown' in found.left[0][1]
    monkeypatch.undo()
    found = label(shots, tmp_path / 'out')
    assert (found.pictures, found.letters, found.left) == (COUNT, 0, ())


@pytest.mark.parametrize(
    ('error', 'lasting'),
    [
        (RuntimeError('CUDA error: an illegal memory access was encountered'), True),
        (RuntimeError('CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`'), True),
        (RuntimeError('cuDNN error: CUDNN_STATUS_EXECUTION_FAILED'), True),
        (torch.OutOfMemoryError('CUDA error: out of memory'), False),
        (RuntimeError('shapes differ'), False),
    ],
)
def test_a_broken_device_takes_a_new_process_and_convicts_nobody(shots, tmp_path, error, lasting):
    """Errors of the device come again with every further call of the process; others do not."""
    teacher, ends, broken = DrawnTeacher(WORDS), [], []

    def breaks(seen):
        if (broken and lasting) or (seen == 2 and not ends and not broken):
            broken.append(seen)
            raise error

    def restarted(job, shards):
        for shard in shards:
            try:
                yield job.start(1).report(shard)
            except UnusableProcessError:
                ends.append(shard)
                broken.clear()
                yield job.start(1).report(shard)

    teacher.before = breaks
    found = label(shots, tmp_path / 'out', teacher, run=restarted)
    assert (found.pictures, found.letters, found.left) == (COUNT, 0, ())
    assert ends == [0] * lasting


def test_a_folder_that_is_not_mounted_convicts_nobody(tmp_path):
    pictures(tmp_path / 'shots', 12)

    def unmounted(job, shards):
        os.rename(tmp_path / 'shots', tmp_path / 'away')
        yield from quickly(job, shards)

    found = label(tmp_path / 'shots', tmp_path / 'out', run=unmounted, shard_size=12)
    assert found.letters == 0 and 'it is gone' in found.left[0][1]
    os.rename(tmp_path / 'away', tmp_path / 'shots')
    (tmp_path / 'shots/0/00.png').chmod(0)
    assert label(tmp_path / 'shots', tmp_path / 'out', shard_size=12).pictures >= 11


@pytest.mark.parametrize('marks', [False, True])
def test_errors_without_a_death_convict_nobody(shots, tmp_path, monkeypatch, marks):
    """No room for the part, or for the marks either, in a shard that goes picture by picture after two deaths."""
    error = OSError(errno.ENOSPC, 'No space left on device')
    deaths, full, stuck = iter([True, True]), True, False
    teacher, put, remove = DrawnTeacher(WORDS), Place.put, Place.remove

    def dies(seen):
        if next(deaths, False):
            raise Died

    def put_some(self, name, content):
        nonlocal stuck
        stuck = stuck or (marks and b'"looking": 3' in content)
        if full and (stuck or name == parts.name_of(0)):
            raise error
        put(self, name, content)

    def remove_any(self, name):
        nonlocal stuck
        stuck = False
        remove(self, name)

    teacher.before = dies
    monkeypatch.setattr(Place, 'put', put_some)
    monkeypatch.setattr(Place, 'remove', remove_any)
    for _ in range(2):
        found = label(shots, tmp_path / 'out', teacher, run=quickly)
        assert found.pictures == 0 and 'No space left' in found.left[0][1]
    full = False
    found = label(shots, tmp_path / 'out')
    assert (found.pictures, found.letters) == (COUNT, 0)


def test_errors_while_a_shard_is_read_convict_nobody(tmp_path, monkeypatch):
    """A store that gives the first rows of a table, and then no more."""
    content = pictures(tmp_path / 'shots', COUNT)
    table(tmp_path / 'a.parquet', content)
    right = members._rows

    def rows(*args):
        for number, member in enumerate(right(*args)):
            if number == 2:
                raise ClientError('503')
            yield member

    monkeypatch.setattr(members, '_rows', rows)
    for _ in range(3):
        found = label(tmp_path / 'a.parquet', tmp_path / 'out', run=quickly)
        assert found.letters == 0 and found.left[0][1] == 'ClientError: 503'
    monkeypatch.undo()
    found = label(tmp_path / 'a.parquet', tmp_path / 'out')
    assert (found.pictures, found.letters) == (COUNT, 0)


def test_damage_is_a_letter_and_the_files_behind_go_on(tmp_path):
    content = pictures(tmp_path / 'shots', COUNT)
    for name in 'abc':
        table(tmp_path / f'data/{name}.parquet', content)

    def damaged(job, shards):
        (tmp_path / 'data/b.parquet').write_bytes(b'PAR1')
        yield from quickly(job, shards)

    found = label(tmp_path / 'data', tmp_path / 'out', run=damaged, shard_size=100)
    assert (found.pictures, found.letters, found.left) == (2 * COUNT, 1, ())
    assert 'cannot be read on' in found.shown[0].reason and found.shown[0].source == 'b.parquet'
    assert [row['index'] for row in rows_of(tmp_path / 'out')] == [0, 1, 2, 3, 5, 6, 7, 8]


def test_a_shard_without_a_part_and_without_a_report_is_left(shots, tmp_path):
    found = label(shots, tmp_path / 'out', run=lambda job, shards: one_process(job, shards[:1]), shard_size=2)
    assert found.left == ((1, 'its part is not there'),)
    (tmp_path / 'out/tries').mkdir(exist_ok=True)
    for name in ('00000000.json', '.00000001.json.ab12.partial'):
        (tmp_path / 'out/tries' / name).write_text('{}')
    assert label(shots, tmp_path / 'out', shard_size=2).left == ()
    assert not list((tmp_path / 'out/tries').iterdir())


@pytest.mark.parametrize(
    ('share', 'gpus', 'actors'), [(0.2, 4, 20), (0.1, 1, 10), (0.3, 2, 6), (0.5, 3, 6), (1, 3, 3), (2, 5, 2)]
)
def test_actors_fill_the_gpus(share, gpus, actors):
    class Ray:
        @staticmethod
        def cluster_resources():
            return {'CPU': 64.0, 'GPU': float(gpus)}

    assert _room(Ray, Cluster(gpus=share), 1000) == actors


def test_a_wrong_source_ends_the_run(shots, tmp_path, monkeypatch):
    def fail(*_):
        raise UserError('no column.')

    monkeypatch.setattr('denseclip.apis.labelling.cluster.shard.members', fail)
    with pytest.raises(UserError, match='no column. What is finished stays'):
        label(shots, tmp_path / 'out', run=quickly)
