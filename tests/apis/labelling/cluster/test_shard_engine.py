"""Ray itself: shards on a cluster of two cores, of which processes are killed."""

import functools
import os
import sys

import pytest
from drawn_shards import WORDS, Fragile, label, pictures, rows_of
from drawn_teacher import DrawnTeacher

from denseclip.apis.labelling.cluster import engine
from denseclip.apis.labelling.cluster.run import ShardOrder, label_source

COUNT = 12


@pytest.fixture(scope='module')
def ray():
    """A cluster of two cores, whose processes find the helpers of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PYTHONPATH', os.pathsep.join(filter(None, sys.path)))
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
