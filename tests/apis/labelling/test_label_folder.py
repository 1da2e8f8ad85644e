"""A folder is labelled once, picture by picture, whatever stops the run."""

import contextlib
import csv
import errno
import gc
import json
import os
import shutil
import threading
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from drawn_teacher import DrawnTeacher, draw_picture
from PIL import Image

from denseclip.apis.batch_sizes import BatchSize
from denseclip.apis.detection import Detections
from denseclip.apis.errors import UserError
from denseclip.apis.labelling import folder as module
from denseclip.apis.labelling.folder import Order, label_folder
from denseclip.apis.labelling.layouts import LAYOUTS
from denseclip.apis.labelling.objects import LabelObject, Rules, objects_of
from denseclip.apis.labelling.order import PICTURES
from denseclip.apis.labelling.store import Record, Run, Store
from denseclip.structures.run_lengths import run_lengths

COUNT = 12


@pytest.fixture
def shots(tmp_path):
    for place in range(COUNT):
        draw_picture(tmp_path / 'shots' / f'{place % 3}' / f'{place:02d}.png', place, (20 + place % 2, 30))
    return tmp_path / 'shots'


def label(shots, out, teacher=None, batch=1, **options):
    model = teacher or DrawnTeacher()
    return label_folder(shots, out, lambda: model, Order(**options), batch=BatchSize(batch))


def contents(folder):
    """All visible files and what they hold."""
    paths = [path for path in sorted(folder.rglob('*')) if path.is_file() and '.denseclip' not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize('layout', list(LAYOUTS))
def test_a_stopped_run_goes_on_to_the_same_files(shots, tmp_path, layout):
    label(shots, tmp_path / 'whole', layout=layout)

    def stop_at(number):
        def before(seen):
            if seen >= number:
                raise KeyboardInterrupt

        return before

    seen: list[object] = []
    for number in (1, 3, 4, COUNT):
        teacher = DrawnTeacher()
        teacher.before = stop_at(number)
        with contextlib.suppress(KeyboardInterrupt):
            label(shots, tmp_path / 'parts', teacher, layout=layout)
        seen += teacher.seen
    assert contents(tmp_path / 'parts') == contents(tmp_path / 'whole')
    done = label(shots, tmp_path / 'parts', layout=layout)
    assert done.new == 0 and len(done.records) == COUNT
    assert contents(tmp_path / 'parts') == contents(tmp_path / 'whole')


def test_a_run_that_fails_leaves_no_thread_to_the_garbage_collector(shots, tmp_path, monkeypatch):
    """It would end them wherever it happens to run, in the start of another thread, too."""

    def full(path, content):
        raise OSError(errno.ENOSPC, 'No space left on device', str(path))

    monkeypatch.setattr(module, 'put', full)
    gc.disable()
    try:
        with pytest.raises(UserError, match='No space left'):
            label(shots, tmp_path / 'out', layout='yolo')
        stop = time.monotonic() + 10
        while readers() and time.monotonic() < stop:
            time.sleep(0.01)
        assert not readers()
    finally:
        gc.enable()


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith('read_')]


def test_finished_pictures_are_not_looked_at_again(shots, tmp_path):
    first = label(shots, tmp_path / 'out')
    assert first.new == COUNT and not first.failures
    draw_picture(shots / 'new/00.png', 99)
    teacher = DrawnTeacher()
    again = label(shots, tmp_path / 'out', teacher)
    assert again.new == 1 and len(again.records) == COUNT + 1
    assert teacher.seen == [shots / 'new/00.png']


@pytest.mark.parametrize('layout', list(LAYOUTS))
def test_a_picture_has_all_files_or_no_record(shots, tmp_path, layout, monkeypatch):
    """Whatever is the last thing that a run writes, the next one makes it whole."""
    label(shots, tmp_path / 'whole', layout=layout, confidences=layout == 'masks')
    calls = 0
    put, add = module.put, Store.add

    def failing(limit, write):
        def run(*args):
            nonlocal calls
            calls += 1
            if calls == limit:
                raise OSError(28, 'No space left on device', 'x')
            return write(*args)

        return run

    for limit in (1, 2, 3, 5, 7, 200):
        calls = 0
        monkeypatch.setattr(module, 'put', failing(limit, put))
        monkeypatch.setattr(Store, 'add', failing(limit, add))
        try:
            label(shots, tmp_path / 'out', layout=layout, confidences=layout == 'masks')
        except UserError as error:
            assert 'No space left' in str(error) and 'same command again' in str(error)
        for record in Store(tmp_path / 'out').records():
            for name, content in LAYOUTS[layout].of_picture(record, Store(tmp_path / 'out').run()):
                wanted = content if isinstance(content, bytes) else content.encode()
                assert (tmp_path / 'out' / name).read_bytes() == wanted
    assert contents(tmp_path / 'out') == contents(tmp_path / 'whole')


@pytest.mark.parametrize(
    ('teacher', 'options', 'named'),
    [
        (DrawnTeacher('road; car'), {}, '--words'),
        (DrawnTeacher('road; car = auto; sky'), {}, '--words'),
        (DrawnTeacher(), {'tolerance': 1.0}, '--tolerance'),
        (DrawnTeacher(), {'layout': 'yolo'}, '--to'),
        (DrawnTeacher(), {'rules': Rules(min_area=0.1)}, '--min-area'),
        (DrawnTeacher(), {'rules': Rules(split_regions=True)}, '--split-regions'),
        (DrawnTeacher(), {'pictures': 'copy'}, '--pictures'),
        (DrawnTeacher(), {'model': {'weights': 'other.pth'}}, '--weights'),
    ],
)
def test_other_words_or_options_are_refused(shots, tmp_path, teacher, options, named):
    label(shots, tmp_path / 'out')
    before = contents(tmp_path / 'out')
    with pytest.raises(UserError, match=f'begun otherwise .*{named}.*another folder'):
        label(shots, tmp_path / 'out', teacher, **options)
    assert contents(tmp_path / 'out') == before and not teacher.seen


def test_what_an_earlier_version_began_goes_on(shots, tmp_path):
    """It had no word of options that came later: they were off."""
    label(shots, tmp_path / 'out')
    store, record = Store(tmp_path / 'out'), tmp_path / 'out/.denseclip/run.record'
    begun, before = json.loads(record.read_text()), contents(tmp_path / 'out')
    del begun['options']['confidences']
    record.write_text(json.dumps(begun))
    teacher = DrawnTeacher()
    assert label(shots, tmp_path / 'out', teacher).new == 0 and not teacher.seen
    assert contents(tmp_path / 'out') == before
    known = store.run()
    for name, value, same in (('confidences', False, True), ('confidences', True, False), ('later', None, True)):
        other = replace(known, options={**known.options, name: value})
        assert (known.differences(other) == []) is same
    named = replace(known, model={**known.model, 'files': {'a': 'b'}})
    assert known.differences(named) == []
    assert named.differences(known) == named.differences(replace(named, model={'files': {}})) != []


def test_the_source_and_foreign_folders_are_safe(shots, tmp_path):
    for out in (shots, shots / 'labels', tmp_path):
        with pytest.raises(UserError, match='--out: .*choose'):
            label(shots, out)
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/thesis.txt').write_text('years of work')
    with pytest.raises(UserError, match='thesis.txt'):
        label(shots, tmp_path / 'mine')
    assert contents(tmp_path / 'mine') == {'thesis.txt': b'years of work'}
    with pytest.raises(UserError, match='is a file'):
        label(shots, tmp_path / 'mine/thesis.txt')
    with pytest.raises(UserError, match='no pictures'):
        label(tmp_path / 'mine', tmp_path / 'out')
    with pytest.raises(UserError, match='is no folder'):
        label(tmp_path / 'nowhere', tmp_path / 'out')


def test_pictures_that_cannot_be_read_are_named_and_tried_again(shots, tmp_path):
    bad = shots / '0/=cmd,"x".png'
    bad.write_bytes(b'no picture')
    (shots / '1/empty.jpg').touch()
    found = label(shots, tmp_path / 'out')
    assert len(found.records) == COUNT and [name for name, _ in found.failures] == ['0/=cmd,"x".png', '1/empty.jpg']
    with (tmp_path / 'out/failures.csv').open() as file:
        assert [row[0] for row in csv.reader(file)] == ['picture', '0/=cmd,"x".png', '1/empty.jpg']
    draw_picture(bad, 77)
    (shots / '1/empty.jpg').unlink()
    assert not label(shots, tmp_path / 'out').failures
    assert not (tmp_path / 'out/failures.csv').exists()
    content = json.loads((tmp_path / 'out/annotations/instances.json').read_text())
    assert '0/=cmd,"x".png' in [image['file_name'] for image in content['images']]


def test_equal_names_do_not_collide(tmp_path):
    names = [
        'a.png',
        'a.bmp',
        'A.png',
        'in/a.png',
        'in/A.jpg',
        'a_png.png',
        'masks/a.png',
        'train/a.png',
        'trainannot/a.png',
    ]
    for place, name in enumerate(names):
        draw_picture(tmp_path / 'shots' / name, place)
    found = label(tmp_path / 'shots', tmp_path / 'out', layout='masks')
    made = [record.name for record in found.records]
    assert len({name.casefold() for name in made}) == len(names)
    assert {record.source for record in found.records} == set(names)
    kept = {record.source: record.name for record in found.records}
    assert (
        kept['in/a.png'].startswith('in/') and kept['masks/a.png'] == 'masksx/a' and kept['train/a.png'] == 'trainx/a'
    )
    for record in found.records:
        assert (tmp_path / 'out/images' / record.file).resolve() == (tmp_path / 'shots' / record.source).resolve()
    draw_picture(tmp_path / 'shots/in/a.webp', 50)  # names that were given stay
    again = label(tmp_path / 'shots', tmp_path / 'out', layout='masks')
    assert kept.items() <= {record.source: record.name for record in again.records}.items()


@pytest.mark.parametrize(
    ('first', 'later'),
    [
        (('train/a.png', 'val/b.png'), ('train/d.png', 'test/e.png')),
        (('train/a.png',), ('val/b.png',)),
        (('a.png',), ('train/b.png', 'val/c.png')),
    ],
)
def test_a_set_stays_split_or_whole_as_it_was_begun(tmp_path, first, later):
    for place, name in enumerate((*first, *later)):
        if name == later[0]:
            label(tmp_path / 'shots', tmp_path / 'out', layout='yolo')
        if name == later[0] and first == ('a.png',):
            (tmp_path / 'shots/a.png').unlink()
        draw_picture(tmp_path / 'shots' / name, place)
    found = label(tmp_path / 'shots', tmp_path / 'out', layout='yolo').records
    about = yaml.safe_load((tmp_path / 'out/data.yaml').read_text())
    places = [tmp_path / 'out' / place for key, place in about.items() if key != 'names']
    assert len(found) == len(first) + len(later)
    for record in found:
        assert any((tmp_path / 'out/images' / record.file).is_relative_to(place) for place in places)


@pytest.mark.parametrize('stray', ['c.png', 'more/c.png', 'valid/c.png'])
def test_a_picture_of_no_split_does_not_come_into_a_split_set(tmp_path, stray):
    for place, name in enumerate(('train/a.png', 'val/b.png')):
        draw_picture(tmp_path / 'shots' / name, place)
    label(tmp_path / 'shots', tmp_path / 'out', layout='yolo')
    before = contents(tmp_path / 'out')
    draw_picture(tmp_path / 'shots' / stray, 2)
    with pytest.raises(UserError, match=rf"\(train/, val/\), and '{stray}' .*another folder"):
        label(tmp_path / 'shots', tmp_path / 'out', layout='yolo')
    assert contents(tmp_path / 'out') == before


@pytest.mark.skipif(os.name != 'posix', reason='names of bytes')
def test_names_that_are_no_text(tmp_path):
    draw_picture(tmp_path / 'shots/a.png', 0)
    odd = os.fsencode(tmp_path) + b'/shots/\xff\n\\b.png'
    shutil.copy(tmp_path / 'shots/a.png', odd)
    for layout in LAYOUTS:
        found = label(tmp_path / 'shots', tmp_path / layout, layout=layout)
        assert [record.name for record in found.records] == ['___b', 'a']
        assert label(tmp_path / 'shots', tmp_path / layout, layout=layout).new == 0


@pytest.mark.parametrize('pictures', PICTURES)
def test_pictures_come_as_asked(shots, tmp_path, pictures):
    label(shots, tmp_path / 'out', pictures=pictures)
    there = tmp_path / 'out/images/0/00.png'
    assert there.is_symlink() == (pictures == 'link') and there.exists() == (pictures != 'none')
    if pictures != 'none':
        assert there.read_bytes() == (shots / '0/00.png').read_bytes()


@pytest.mark.parametrize('said', ['EPERM', 'EOPNOTSUPP', 'ENOSYS', 'ENOSPC'])
def test_pictures_are_files_where_there_are_no_links(shots, tmp_path, monkeypatch, said):
    def refuse(self, target, target_is_directory=False):
        raise OSError(getattr(errno, said), os.strerror(getattr(errno, said)), str(self))

    monkeypatch.setattr(Path, 'symlink_to', refuse)
    if said == 'ENOSPC':
        with pytest.raises(UserError, match='No space left'):
            label(shots, tmp_path / 'out')
        return
    label(shots, tmp_path / 'out')
    there = tmp_path / 'out/images/0/00.png'
    assert not there.is_symlink() and there.read_bytes() == (shots / '0/00.png').read_bytes()


def test_rules(shots, tmp_path):
    teacher = DrawnTeacher()
    whole = label(shots, tmp_path / 'whole', teacher)
    large = label(shots, tmp_path / 'large', teacher, rules=Rules(split_regions=True, min_area=0.02))
    areas = [entry.area for record in large.records for entry in record.objects]
    assert areas and min(areas) >= 0.02 * 20 * 30
    assert len(areas) > sum(len(record.objects) for record in whole.records)
    sure = label(shots, tmp_path / 'sure', DrawnTeacher(task='instance'), rules=Rules(min_confidence=0.6))
    assert {entry.score for record in sure.records for entry in record.objects} == {0.9, 0.7}


def test_confidences_are_those_of_the_labels(shots, tmp_path):
    label(shots, tmp_path / 'out', layout='masks', confidences=True)
    for record in Store(tmp_path / 'out').records():
        values = np.asarray(Image.open(tmp_path / f'out/confidences/{record.name}.png'))
        assert values.shape == record.size and (values == round(0.8 * 255)).all()
    with pytest.raises(UserError, match='--to masks'):
        label(shots, tmp_path / 'coco', confidences=True)


def test_two_processes_do_not_label_one_folder(shots, tmp_path):
    with Store(tmp_path / 'out').alone(), pytest.raises(UserError, match='in use by another process'):
        label(shots, tmp_path / 'out')


@pytest.mark.parametrize('batch', [3, 'auto'])
def test_batches_change_nothing(shots, tmp_path, batch):
    label(shots, tmp_path / 'one')
    teacher = DrawnTeacher()
    label(shots, tmp_path / 'many', teacher, batch=batch)
    assert contents(tmp_path / 'one') == contents(tmp_path / 'many')
    assert max(teacher.runs) > 1


def peak_of(work):
    """What a call returns, and the bytes that it held at most."""
    tracemalloc.start()
    try:
        return work(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize('layout', ['coco', 'cvat', 'datumaro', 'label-studio', 'fiftyone'])
def test_files_of_a_set_hold_the_masks_of_one_picture_at_most(layout):
    side, pictures = 200, 40
    mask = np.zeros((side, side), bool)
    mask[10:-10, 20:-20] = True
    code = run_lengths(mask)
    records = [
        Record(f'{k}.png', f'{k}', f'{k}.png', '', mask.shape, (LabelObject(1, 0, (20, 10, 180, 190), code, 0.5),))
        for k in range(pictures)
    ]
    run = Run('x', layout, ('car',), False, {}, {}, {'tolerance': 1.0})
    assert dict(LAYOUTS[layout].of_set(records[:1], run))  # loads what takes memory of its own
    _, one = peak_of(lambda: dict(LAYOUTS[layout].of_set(records[:1], run)))
    files, all_of_them = peak_of(lambda: dict(LAYOUTS[layout].of_set(records, run)))
    assert files and all_of_them - one < pictures * mask.nbytes / 2
    assert records[0].objects[0].area == mask.sum() and (records[0].objects[0].mask == mask).all()


@pytest.mark.parametrize('rest', [False, True])
def test_many_regions_never_have_all_their_masks_at_once(rest):
    side, step = 120, 5
    specks = np.zeros((side, side), bool)
    for row, column in np.ndindex(side // step, side // step):
        specks[row * step : row * step + 1 + row % 3, column * step : column * step + 1 + column % 4] = True
    image = np.zeros((side, side, 3), np.uint8)
    found = Detections(
        np.array([[0, 0, side, side]], np.float32), np.array([0]), np.array([0.5]), specks[None], ('car',), ((0,) * 3,),
        image,
    )  # fmt: skip
    count = (side // step) ** 2
    objects, peak = peak_of(lambda: objects_of(found, Rules(split_regions=True), rest))
    assert len(objects) == count + rest and peak < count * specks.nbytes / 4
    seen = np.zeros(specks.shape, int)
    for entry in objects[:count]:
        x1, y1, x2, y2 = map(int, entry.box)
        assert entry.mask[y1:y2, x1:x2].all() and entry.area == (x2 - x1) * (y2 - y1) == entry.mask.sum()
        seen += entry.mask
    np.testing.assert_array_equal(seen, specks)
    if rest:
        np.testing.assert_array_equal(objects[-1].mask, ~specks)
    large = objects_of(found, Rules(split_regions=True, min_area=12 / side**2))
    assert [entry.area for entry in large] == [entry.area for entry in objects[:count] if entry.area >= 12]
