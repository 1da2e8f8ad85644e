"""Relative names work in processes with other working folders, and other files than the command's are refused."""

import os
import pickle
from dataclasses import dataclass

import pytest
from drawn_shards import WORDS, one_process, pictures, rows_of
from drawn_teacher import DrawnTeacher

from denseclip.apis.errors import UserError
from denseclip.apis.labelling.cluster.places import Place
from denseclip.apis.labelling.cluster.run import ShardOrder, label_source
from denseclip.apis.labelling.cluster.same import stand_in, sums


@dataclass
class Load:
    """Loads a model of the words in a file."""

    name: str

    def __call__(self):
        with open(self.name) as file:
            return DrawnTeacher(file.read())


def elsewhere(folder):
    """Runs shards as an actor does that was started in another folder."""

    def run(job, shards):
        sent, here = pickle.dumps(job), os.getcwd()
        for shard in shards:
            os.chdir(folder)
            yield from one_process(pickle.loads(sent), [shard])
        os.chdir(here)

    return run


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A working folder with pictures and a file of words, and another folder."""
    pictures(tmp_path / 'work/shots', 5)
    (tmp_path / 'work/words.txt').write_text(WORDS)
    (tmp_path / 'other').mkdir()
    monkeypatch.chdir(tmp_path / 'work')
    return tmp_path / 'work'


@pytest.mark.parametrize('out', ['out', 'file://out'])
def test_relative_names(work, out):
    order = ShardOrder(shard_size=2, files=sums(['words.txt']))
    found = label_source(['shots'], out, Load('words.txt'), order, elsewhere(work.parent / 'other'))
    assert (found.pictures, found.left) == (5, ()) and len(rows_of(work / 'out')) == 5
    assert not list((work.parent / 'other').iterdir())
    copy = pickle.loads(pickle.dumps(Place(out)))
    assert copy.root == str(work / 'out')


@pytest.mark.parametrize(('content', 'said'), [(None, 'is not there'), ('road; sky', 'is another one')])
def test_a_machine_with_other_files_is_refused(work, content, said):
    """Where the folder of the command is not shared."""
    if content is not None:
        (work.parent / 'other/words.txt').write_text(content)
    known = sums(['words.txt'])
    os.chdir(work.parent / 'other')
    with pytest.raises(UserError, match=f"'words.txt' {said}.*on '.*' in '.*other'.*share"):
        stand_in(str(work.parent / 'gone'), known)
    stand_in(str(work), known)
    assert os.getcwd() == str(work)


def test_changed_weights_are_not_gone_on_with(work):
    def run(files):
        return label_source(['shots'], 'out', Load('words.txt'), ShardOrder(files=files), one_process)

    assert run(sums(['words.txt'])).new == 5
    assert run(sums(['words.txt'])).new == 0
    (work / 'words.txt').write_text(WORDS + ' ')
    with pytest.raises(UserError, match='begun otherwise .the files of the model.'):
        run(sums(['words.txt']))


def test_what_has_a_sum(work):
    (work / 'clip').mkdir()
    (work / 'clip/a.bin').write_bytes(b'1')
    names = ['words.txt', 'local-dir:clip', 'clip', 'hf-hub:some/model', 'ViT-B-16', 'https://a.b/c.pth#sha256=0']
    assert set(sums(names)) == {'words.txt', 'local-dir:clip'}
    found = sums([], exported='clip')
    assert set(found) == {'clip'}
    (work / 'clip/a.bin').rename(work / 'clip/b.bin')
    assert sums([], exported='clip') != found
