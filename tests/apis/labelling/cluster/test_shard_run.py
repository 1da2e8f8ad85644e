"""Every picture of a source has one row or one dead letter, whatever stops a run."""

import contextlib
import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from drawn_shards import WORDS, Died, archive, label, one_process, pictures, rows_of, table
from drawn_teacher import DrawnTeacher

from denseclip.apis.errors import UserError
from denseclip.apis.labelling.cluster import parts, same
from denseclip.apis.labelling.objects import Rules

COUNT = 13


@pytest.fixture
def shots(tmp_path):
    pictures(tmp_path / 'shots', COUNT)
    return tmp_path / 'shots'


def letters_of(out):
    with (out / 'dead_letters.csv').open() as file:
        return list(csv.DictReader(file))


def keys(out):
    return sorted(row['key'] for row in rows_of(out))


def everything(out):
    return {path.name: path.read_bytes() for path in sorted((out / 'shards').glob('*.parquet'))}


def test_every_picture_has_a_row(shots, tmp_path):
    found = label(shots, tmp_path / 'out', label_maps=True)
    assert (found.pictures, found.new, found.letters, found.header.shards) == (COUNT, COUNT, 0, 3)
    rows = rows_of(tmp_path / 'out')
    assert keys(tmp_path / 'out') == sorted(path.relative_to(shots).as_posix() for path in shots.rglob('*.png'))
    assert [row['index'] for row in rows] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2]
    for row in rows:
        assert row['classes'] == [entry['class'] for entry in row['objects']]
        areas = {entry['label']: entry['area'] for entry in row['objects']}
        labels = np.asarray(_png(row['label_map']))
        assert labels.shape == (row['height'], row['width'])
        assert {int(k): float((labels == k).sum()) for k in np.unique(labels)} == areas
    assert not list((tmp_path / 'out/tries').iterdir()) and not (tmp_path / 'out/dead_letters.csv').exists()


def _png(data):
    import io

    from PIL import Image

    return Image.open(io.BytesIO(data))


def test_a_stopped_run_goes_on_to_the_same_parts(shots, tmp_path):
    """Whichever picture is the last, and when the driver dies between parts."""
    label(shots, tmp_path / 'whole')

    def stop(job, shards):
        for number, report in enumerate(one_process(job, shards)):
            yield report
            if number == 0:
                raise KeyboardInterrupt

    def dies(limit):
        def before(seen):
            if seen >= limit:
                raise KeyboardInterrupt

        return before

    for limit in (2, 7):
        teacher = DrawnTeacher(WORDS)
        teacher.before = dies(limit)
        with pytest.raises(KeyboardInterrupt):
            label(shots, tmp_path / 'out', teacher)
    with pytest.raises(KeyboardInterrupt):
        label(shots, tmp_path / 'out', run=stop)
    done = label(shots, tmp_path / 'out')
    assert 0 < done.new < COUNT and done.pictures == COUNT
    assert everything(tmp_path / 'out') == everything(tmp_path / 'whole')
    seen = DrawnTeacher(WORDS)
    assert label(shots, tmp_path / 'out', seen).new == 0 and not seen.seen


def test_a_part_that_is_there_is_not_made_again(shots, tmp_path):
    """A number that comes twice, as after a lost report, makes no second result."""
    found = label(shots, tmp_path / 'out', run=lambda job, shards: one_process(job, [*shards, *shards]))
    assert found.new == COUNT and found.pictures == COUNT
    assert len(keys(tmp_path / 'out')) == len(set(keys(tmp_path / 'out'))) == COUNT


class Poisoned(DrawnTeacher):
    """A model that some pictures, told by their sums, do something to."""

    def __init__(self, sums, happen):
        super().__init__(WORDS)
        self._sums, self._happen, self.ends = sums, happen, 0

    def _result(self, picture):
        if int(picture.rgb.astype(int).sum()) in self._sums:
            self.ends += 1
            raise self._happen('boom\nboom')
        return super()._result(picture)


def sums(shots, *names):
    from denseclip.apis.images import Picture

    return {int(Picture.of(shots / name).rgb.astype(int).sum()) for name in names}


@pytest.mark.parametrize('happen', [Died, RuntimeError, MemoryError])
def test_poison_gets_a_letter_and_the_others_go_on(shots, tmp_path, happen):
    """An error of the model, or the end of its process: two looks alone, then a letter.

    An error ends the full speed of its shard: who was looked at by then was looked at three times.
    """
    bad = ['0/00.png', '0/03.png', '2/02.png']
    teacher = Poisoned(sums(shots, *bad), happen)
    found = label(shots, tmp_path / 'out', teacher)
    assert found.letters == 3 and found.pictures == COUNT - 3 and not found.left
    letters = letters_of(tmp_path / 'out')
    tries = ['2', '2', '2'] if happen is Died else ['3', '2', '3']
    assert sorted((letter['key'], letter['tries']) for letter in letters) == [*zip(bad, tries, strict=True)]
    assert sorted([*keys(tmp_path / 'out'), *bad]) == sorted(
        p.relative_to(shots).as_posix() for p in shots.rglob('*.png')
    )
    assert teacher.ends <= 2 * 2 + 2 * 3  # two beginnings of each of two shards, two tries of each picture
    assert not list((tmp_path / 'out/tries').iterdir())
    reasons = {letter['reason'] for letter in letters}
    assert all(('process died' in reason) == (happen is Died) and '\n' not in reason for reason in reasons)
    label(shots, tmp_path / 'whole')
    assert {row['key']: row for row in rows_of(tmp_path / 'whole')}.items() >= {
        row['key']: row for row in rows_of(tmp_path / 'out')
    }.items()


def test_processes_that_die_of_other_things_convict_nobody(shots, tmp_path):
    """A machine that is taken away at any picture costs time, and no picture."""
    ends = iter([3, 1, 2, 5, 4, 1])

    def run(job, shards):
        for shard in shards:
            while True:
                worker = job.start(1)
                left = next(ends, 100)
                count = 0

                def before(seen):
                    nonlocal count
                    count += 1
                    if count > left:  # noqa: B023
                        raise Died

                worker.worker.model.before = before
                try:
                    yield worker.report(shard)
                    break
                except Died:
                    continue

    found = label(shots, tmp_path / 'out', run=run)
    assert found.pictures == COUNT and found.letters == 0


def test_a_model_that_fails_at_everything_is_not_the_pictures_fault(tmp_path):
    pictures(tmp_path / 'shots', 60)
    names = [path.relative_to(tmp_path / 'shots').as_posix() for path in (tmp_path / 'shots').rglob('*.png')]
    teacher = Poisoned(sums(tmp_path / 'shots', *names), RuntimeError)
    with pytest.raises(UserError, match='4 shards could not be labelled.*RuntimeError: boom boom'):
        label(tmp_path / 'shots', tmp_path / 'out', teacher, shard_size=12, run=_quickly)
    assert not (tmp_path / 'out/shards').exists()
    assert label(tmp_path / 'shots', tmp_path / 'out', shard_size=12).pictures == 60


def _quickly(job, shards):
    from dataclasses import replace

    return one_process(replace(job, waits=(0.0, 0.0)), shards)


def test_pictures_that_cannot_be_read(shots, tmp_path):
    (shots / '=x".png').write_bytes(b'no')
    (shots / 'empty.jpg').touch()
    found = label(shots, tmp_path / 'out')
    assert {(letter['key'], letter['tries']) for letter in letters_of(tmp_path / 'out')} == {
        ('=x".png', '3'),
        ('empty.jpg', '3'),
    }
    assert found.pictures == COUNT and [letter.key for letter in found.shown] == ['=x".png', 'empty.jpg']


@pytest.mark.parametrize(
    ('words', 'options', 'named'),
    [
        ('road; car', {}, '--words'),
        (WORDS, {'rules': Rules(min_area=0.1)}, '--min-area'),
        (WORDS, {'shard_size': 6}, '--shard-size'),
        (WORDS, {'label_maps': True}, '--label-maps'),
        (WORDS, {'model': {'weights': 'other.pth'}}, '--weights'),
    ],
)
def test_other_words_or_options_are_refused(shots, tmp_path, words, options, named):
    label(shots, tmp_path / 'out')
    before = everything(tmp_path / 'out')
    with pytest.raises(UserError, match=f'begun otherwise .*{named}.*--out'):
        label(shots, tmp_path / 'out', DrawnTeacher(words), **options)
    assert everything(tmp_path / 'out') == before


def test_what_an_earlier_version_began_goes_on(shots, tmp_path):
    """It had no word of options that came later, nor of the files of the model."""
    place, weights = tmp_path / 'out/run.json', tmp_path / 'model.pth'
    weights.write_bytes(b'weights')
    files = same.sums([str(weights)])
    label(shots, tmp_path / 'out', run=lambda job, shards: [])
    header = json.loads(place.read_text())
    del header['run']['options']['confidences']
    place.write_text(json.dumps(header))
    label(shots, tmp_path / 'out', run=lambda job, shards: one_process(job, shards[:1]), files=files)
    with pytest.raises(UserError, match='begun otherwise .*--confidences'):
        label(shots, tmp_path / 'out', confidences=True)
    found = label(shots, tmp_path / 'out', files=files)
    assert (found.pictures, found.new, found.left) == (COUNT, COUNT - 5, ())
    assert json.loads(place.read_text()) == header


def test_another_source_and_foreign_places_are_refused(shots, tmp_path):
    label(shots, tmp_path / 'out')
    pictures(tmp_path / 'others', 3)
    with pytest.raises(UserError, match='the folder of pictures'):
        label(tmp_path / 'others', tmp_path / 'out')
    (shots / 'new.png').write_bytes((shots / '0/00.png').read_bytes())
    with pytest.raises(UserError, match='13 files.*14 by now'):
        label(shots, tmp_path / 'out')
    (shots / 'new.png').unlink()
    (shots / '0/00.png').rename(shots / '0/renamed.png')
    with pytest.raises(UserError, match='13 files'):
        label(shots, tmp_path / 'out')
    for out in (shots, shots / 'labels', tmp_path):
        with pytest.raises(UserError, match='--out: .*choose'):
            label(shots, out)
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/thesis.txt').write_text('years of work')
    with pytest.raises(UserError, match='thesis.txt'):
        label(shots, tmp_path / 'mine')
    assert [path.name for path in (tmp_path / 'mine').iterdir()] == ['thesis.txt']


def test_a_plan_that_was_cut_short_is_made_again(shots, tmp_path):
    label(shots, tmp_path / 'whole')
    (tmp_path / 'out/plan').mkdir(parents=True)
    (tmp_path / 'out/plan/page-000000.parquet').write_bytes(b'half')
    assert label(shots, tmp_path / 'out').pictures == COUNT


def test_a_damaged_or_foreign_part_is_named(shots, tmp_path):
    label(shots, tmp_path / 'out')
    part = tmp_path / 'out/shards/part-00000001.parquet'
    whole = part.read_bytes()
    part.write_bytes(whole[:-20])
    with pytest.raises(UserError, match='part-00000001.*remove it'):
        label(shots, tmp_path / 'out')
    label(shots, tmp_path / 'other', DrawnTeacher('tree; car; sky'))
    part.write_bytes((tmp_path / 'other/shards/part-00000001.parquet').read_bytes())
    with pytest.raises(UserError, match='another run'):
        label(shots, tmp_path / 'out')
    part.unlink()
    assert label(shots, tmp_path / 'out').pictures == COUNT and part.read_bytes() == whole


def test_parts_say_what_they_are(shots, tmp_path, monkeypatch):
    done = label(shots, tmp_path / 'out')
    monkeypatch.setattr(parts, '_AHEAD', 2)  # of three
    assert [facts.shard for facts in parts.all_facts(done.place, range(3), done.header.run)] == [0, 1, 2]
    said = json.loads(pq.read_schema(tmp_path / 'out/shards/part-00000000.parquet').metadata[b'denseclip'])
    assert said['names'] == ['road', 'car', 'sky'] and said['pictures'] == 5 and said['letters'] == []


@pytest.mark.parametrize('kind', ['tables', 'archives'])
def test_tables_and_archives_give_the_rows_of_the_folder(shots, tmp_path, kind):
    content = {path.relative_to(shots).as_posix(): path.read_bytes() for path in sorted(shots.rglob('*.png'))}
    items = list(content.items())
    for number in range(3):
        part = dict(items[number::3])
        if kind == 'tables':
            table(tmp_path / f'data/{number}.parquet', part, group=2)
        else:
            named = {name.replace('/', '_'): data for name, data in part.items()}
            extra = {f'{name[:-4]}.json': b'{}' for name in named}
            archive(tmp_path / f'data/{number}.tar', dict(sorted({**named, **extra}.items())))
    label(shots, tmp_path / 'folder')
    found = label(tmp_path / 'data', tmp_path / 'out')
    assert found.pictures == COUNT and found.header.pictures == (COUNT if kind == 'tables' else None)
    plain = {row['key']: row['objects'] for row in rows_of(tmp_path / 'folder')}
    assert {
        row['key'].removesuffix('.png').replace('_', '/') + '.png': row['objects'] for row in rows_of(tmp_path / 'out')
    } == plain
    with contextlib.suppress(StopIteration):
        assert (
            label([tmp_path / f'data/*.{"parquet" if kind == "tables" else "tar"}'], tmp_path / 'two').pictures == COUNT
        )
