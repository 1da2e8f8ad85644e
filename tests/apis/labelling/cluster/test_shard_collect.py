"""Finished shards become the labelled folder that the same pictures give without shards."""

import io

import numpy as np
import pytest
from drawn_shards import WORDS, archive, label, one_process, pictures, rows_of, table
from drawn_teacher import DrawnTeacher
from PIL import Image

from denseclip.apis.errors import UserError
from denseclip.apis.labelling.cluster.collect import collect
from denseclip.apis.labelling.folder import Order, label_folder
from denseclip.apis.labelling.layouts import LAYOUTS
from denseclip.apis.labelling.objects import Rules
from denseclip.clip.vocabulary import Vocabulary

COUNT = 7


@pytest.fixture
def shots(tmp_path):
    pictures(tmp_path / 'shots', COUNT)
    return tmp_path / 'shots'


def contents(folder):
    paths = [path for path in sorted(folder.rglob('*')) if path.is_file() and '.denseclip' not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_every_layout_is_that_of_plain_labelling(shots, tmp_path):
    rules = Rules(split_regions=True, min_area=0.01)
    label(shots, tmp_path / 'shards', rules=rules, shard_size=3)
    for layout in LAYOUTS:
        label_folder(shots, tmp_path / f'plain/{layout}', lambda: DrawnTeacher(WORDS), Order(layout, rules))
        found = collect(str(tmp_path / 'shards'), tmp_path / f'from/{layout}', Order(layout))
        assert found.new == COUNT
        assert contents(tmp_path / f'from/{layout}') == contents(tmp_path / f'plain/{layout}'), layout
        assert collect(str(tmp_path / 'shards'), tmp_path / f'from/{layout}', Order(layout)).new == 0


@pytest.mark.parametrize(
    ('task', 'background'), [('semantic', 'prompts'), ('panoptic', 'none'), ('instance', 'none'), ('instance', 'boxes')]
)
def test_every_kind_of_model(shots, tmp_path, task, background):
    extra = {'background': 'prompts', 'background_names': ('ground',)} if background == 'prompts' else {}
    words = Vocabulary(Vocabulary.of(WORDS).classes, **extra)

    def model():
        return DrawnTeacher(words, task, background == 'boxes')

    label(shots, tmp_path / 'shards', model(), shard_size=3)
    for layout in ('coco', 'masks'):
        if layout == 'masks' and background == 'boxes':
            with pytest.raises(UserError, match='boxes without masks'):
                collect(str(tmp_path / 'shards'), tmp_path / layout, Order(layout))
            continue
        label_folder(shots, tmp_path / f'plain/{layout}', model, Order(layout))
        collect(str(tmp_path / 'shards'), tmp_path / layout, Order(layout))
        assert contents(tmp_path / layout) == contents(tmp_path / f'plain/{layout}')


@pytest.mark.parametrize('kind', ['tables', 'archives'])
def test_pictures_come_out_of_tables_and_archives(shots, tmp_path, kind):
    """The same key in two files is two pictures; each keeps its bytes."""
    content = {path.relative_to(shots).as_posix(): path.read_bytes() for path in sorted(shots.rglob('*.png'))}
    for number in range(2):
        some = dict(list(content.items())[number::2])
        named = {f'{place:02d}.png': data for place, data in enumerate(some.values())}
        (table if kind == 'tables' else archive)(
            tmp_path / f'data/{number}.{"pq" if kind == "tables" else "tar"}', named
        )
    label(tmp_path / 'data', tmp_path / 'shards')
    found = collect(str(tmp_path / 'shards'), tmp_path / 'out', Order('coco'))
    assert len(found.records) == COUNT
    copies = [(tmp_path / 'out/images' / record.file).read_bytes() for record in found.records]
    assert sorted(copies) == sorted(content.values())


def test_confidences_come_along(shots, tmp_path):
    """As files beside the label maps, and as a number that says which pictures to look at first."""
    label(shots, tmp_path / 'shards', confidences=True, shard_size=3)
    order = Order('masks', confidences=True)
    label_folder(shots, tmp_path / 'plain', lambda: DrawnTeacher(WORDS), order)
    collect(str(tmp_path / 'shards'), tmp_path / 'from', order)
    found = contents(tmp_path / 'from')
    assert found == contents(tmp_path / 'plain') and sum(name.startswith('confidences/') for name in found) == COUNT
    for row in rows_of(tmp_path / 'shards'):
        assert row['confidence'] == pytest.approx(np.asarray(Image.open(io.BytesIO(row['confidences']))).mean() / 255)
    collect(str(tmp_path / 'shards'), tmp_path / 'without', Order('masks'))
    assert not (tmp_path / 'without/confidences').exists()
    label(shots, tmp_path / 'fewer')
    assert not {'confidence', 'confidences'} & rows_of(tmp_path / 'fewer')[0].keys()
    with pytest.raises(UserError, match='labelled without --confidences'):
        collect(str(tmp_path / 'fewer'), tmp_path / 'more', order)
    with pytest.raises(UserError, match='panoptic results have no confidence'):
        label(shots, tmp_path / 'panoptic', DrawnTeacher(WORDS, 'panoptic'), confidences=True)


def test_unfinished_shards_are_not_collected(shots, tmp_path):
    label(shots, tmp_path / 'shards', run=lambda job, shards: one_process(job, shards[:-1]))
    with pytest.raises(UserError, match='1 of 2 shards.*not finished'):
        collect(str(tmp_path / 'shards'), tmp_path / 'out', Order())
    with pytest.raises(UserError, match='was not begun'):
        collect(str(shots), tmp_path / 'out', Order())
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('kind', ['tables', 'archives'])
def test_equal_keys_in_files_of_like_names_stay_apart(shots, tmp_path, kind):
    """Names that differ behind a dot, a key that looks like a numbered one, and keys that would lead elsewhere."""
    content = [path.read_bytes() for path in sorted(shots.rglob('*.png'))]
    ending = 'parquet' if kind == 'tables' else 'tar'
    files = {
        f'v1.0/a.{ending}': {'x.png': content[0], '../../../x.png': content[1]},
        f'v1.1/a.{ending}': {'x.png': content[2]},
        f'v1.1/a.b.{ending}': {'x_2.png': content[3], 'x.png': content[4]},
        f'v1.1/a.{"pq" if kind == "tables" else "tgz"}': {'x.png': content[5], 'x_2.png': content[6]},
    }
    for name, some in files.items():
        (table if kind == 'tables' else archive)(tmp_path / 'data' / name, some)
    label(tmp_path / 'data', tmp_path / 'shards', shard_size=2)
    before = contents(tmp_path)
    found = collect(str(tmp_path / 'shards'), tmp_path / 'deep/er/out', Order('coco'))
    images = tmp_path / 'deep/er/out/images'
    copies = [(images / record.file).resolve() for record in found.records]
    assert len({*copies}) == COUNT and all(path.is_relative_to(images.resolve()) for path in copies)
    assert sorted(path.read_bytes() for path in copies) == sorted(content)
    assert {name: data for name, data in contents(tmp_path).items() if not name.startswith('deep/er/out/')} == before


def test_pictures_that_are_not_wanted_are_not_read(shots, tmp_path, monkeypatch):
    """And of those that are, one is held at a time."""
    from denseclip.apis.labelling.cluster import collect as module

    archive(tmp_path / 'a.tar', {path.name: path.read_bytes() for path in sorted(shots.rglob('*.png'))})
    label(tmp_path / 'a.tar', tmp_path / 'shards')
    right, read = module.members, []

    def members(*args):
        for member in right(*args):
            read.append(member.key)
            yield member

    monkeypatch.setattr(module, 'members', members)
    ahead = []
    place = module.Writer.copy
    monkeypatch.setattr(module.Writer, 'copy', lambda *args: (ahead.append(len(read)), place(*args)))
    assert collect(str(tmp_path / 'shards'), tmp_path / 'none', Order('coco', pictures='none')).new == COUNT
    assert not read
    assert collect(str(tmp_path / 'shards'), tmp_path / 'all', Order('coco')).new == COUNT
    assert ahead == list(range(1, COUNT + 1))
    archive(tmp_path / 'a.tar', {'other.png': next(shots.rglob('*.png')).read_bytes()})
    with pytest.raises(UserError, match=r"'a\.tar' does not hold"):
        collect(str(tmp_path / 'shards'), tmp_path / 'more', Order('coco'))
