"""Ray itself: shards on a cluster of two cores, of which processes are killed."""

import functools
import os
import sys

import pytest
from drawn_shards import WORDS, Fragile, Load, label, pictures, rows_of
from drawn_teacher import DrawnTeacher

from denseclip.apis.labelling.cluster import engine
from denseclip.apis.labelling.cluster.run import ShardOrder, label_source
from denseclip.apis.labelling.cluster.same import sums

COUNT = 12


@pytest.fixture(scope='module')
def ray(tmp_path_factory):
    """A cluster of two cores, whose processes find the helpers of the tests, and stand in another folder."""
    elsewhere = tmp_path_factory.mktemp('elsewhere')
    # What conftest keeps from being imported here, for the processes of the cluster.
    (elsewhere / 'rfc3987_syntax.py').write_text("raise ImportError('not for tests')")
    folders = [str(elsewhere), *(os.path.abspath(folder) for folder in filter(None, sys.path))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PYTHONPATH', os.pathsep.join(folders))
        patch.chdir(elsewhere)
        found = engine.need_ray()
        engine.start(found, 96 * 2**20, {'num_cpus': 2, 'log_to_driver': False, 'logging_level': 'ERROR'})
        yield found
        found.shutdown()


@pytest.mark.slow
def test_every_picture_once_though_processes_are_killed(ray, tmp_path):
    pictures(tmp_path / 'shots', COUNT)
    label(tmp_path / 'shots', tmp_path / 'whole', shard_size=4)
    load = functools.partial(Fragile, str(tmp_path / 'killed'))
    run = functools.partial(engine.run, cluster=engine.Cluster(actors=2))
    found = label_source(
        [str(tmp_path / 'shots')],
        str(tmp_path / 'out'),
        load,
        ShardOrder(shard_size=4),
        run,
        describe=lambda: DrawnTeacher(WORDS),
    )
    assert (tmp_path / 'killed').exists() and found.pictures == COUNT and not (found.left or found.letters)
    assert rows_of(tmp_path / 'out') == rows_of(tmp_path / 'whole')


@pytest.mark.slow
def test_relative_names_work_in_actors_that_stand_elsewhere(ray, tmp_path, monkeypatch):
    pictures(tmp_path / 'shots', 4)
    (tmp_path / 'words.txt').write_text(WORDS)
    monkeypatch.chdir(tmp_path)
    run = functools.partial(engine.run, cluster=engine.Cluster(actors=1))
    order = ShardOrder(shard_size=4, files=sums(['words.txt']))
    found = label_source(['shots'], 'out', Load('words.txt'), order, run)
    assert (found.pictures, found.left) == (4, ()) and len(rows_of(tmp_path / 'out')) == 4


@pytest.mark.slow
def test_what_cannot_be_loaded_is_one_sentence(ray, tmp_path):
    from denseclip.apis.errors import UserError

    pictures(tmp_path / 'shots', 2)
    run = functools.partial(engine.run, cluster=engine.Cluster(actors=1))
    with pytest.raises(UserError, match='TypeError.*What is finished stays'):
        label_source(
            [str(tmp_path / 'shots')],
            str(tmp_path / 'out'),
            functools.partial(DrawnTeacher, WORDS, 'semantic', False, 'too many'),
            ShardOrder(),
            run,
            describe=lambda: DrawnTeacher(WORDS),
        )
