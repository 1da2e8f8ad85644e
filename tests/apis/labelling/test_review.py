"""Decisions are applied as a whole or not at all, and every layout follows them."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
from drawn_teacher import DrawnTeacher, draw_picture
from PIL import Image

from denseclip.apis.errors import UserError
from denseclip.apis.labelling import folder as module
from denseclip.apis.labelling.decisions import apply_file
from denseclip.apis.labelling.folder import Order, label_folder
from denseclip.apis.labelling.layouts import LAYOUTS
from denseclip.apis.labelling.objects import Rules
from denseclip.apis.labelling.review import page_data, write_page
from denseclip.apis.labelling.store import Store

WORDS = ['road', '</script><b>car & "van"', 'sky']


@pytest.fixture
def shots(tmp_path):
    for place, name in enumerate(('a.png', 'in/<img src=x onerror=alert(1)>.png', 'b.tiff')):
        draw_picture(tmp_path / 'shots' / name, place, (24, 30))
    return tmp_path / 'shots'


@pytest.fixture(params=list(LAYOUTS))
def labelled(request, shots, tmp_path):
    out = tmp_path / 'out'
    label_folder(shots, out, lambda: DrawnTeacher(WORDS), Order(request.param, Rules(split_regions=True)))
    return out


def contents(folder):
    paths = [path for path in sorted(folder.rglob('*')) if path.is_file() and '.denseclip' not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def decisions(out, *made, **changes):
    """A file as the page saves it."""
    keys = ('picture', 'object', 'action', 'label')
    listed = [dict(zip(keys, one, strict=False)) for one in made]
    content = {'kind': 'denseclip decisions', 'version': 1, 'labels': Store(out).opened().id, 'decisions': listed}
    path = out.parent / 'decisions.json'
    path.write_text(json.dumps(content | changes))
    return path


def test_files_are_those_of_labels_that_were_so_from_the_beginning(labelled, tmp_path):
    store = Store(labelled)
    run = store.opened()
    [first, *_] = store.records()
    path = decisions(
        labelled, (first.name, first.objects[0].id, 'drop'), (first.name, first.objects[1].id, 'relabel', WORDS[2])
    )
    assert apply_file(labelled, path) == {'drop': 1, 'relabel': 1}
    [now, *_] = store.decided()
    assert [entry.id for entry in now.objects] == [entry.id for entry in first.objects[1:]]
    assert now.objects[0].label == 2
    wanted = dict(LAYOUTS[run.layout].of_picture(now, run)) | dict(LAYOUTS[run.layout].of_set(store.decided(), run))
    found = contents(labelled)
    for name, content in wanted.items():
        assert found[name] == (content if isinstance(content, bytes) else content.encode())
    undo = decisions(labelled, (first.name, first.objects[0].id, 'keep'), (first.name, first.objects[1].id, 'keep'))
    apply_file(labelled, undo)
    assert [entry.to_json() for entry in store.decided()[0].objects] == [entry.to_json() for entry in first.objects]


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({'labels': 'other'}, 'another labelled folder'),
        ({'kind': 'x'}, 'no decisions'),
        ({'version': 9}, 'no decisions'),
        ({'decisions': 'x'}, 'is no list'),
        ({'decisions': [3]}, 'decision 1: 3 is no decision'),
        ({'decisions': [{'picture': 'a', 'object': 1}]}, "has no 'action'"),
        ({'decisions': [{'picture': '../../x', 'object': 1, 'action': 'drop'}]}, 'no picture'),
        ({'decisions': [{'picture': ['a'], 'object': 1, 'action': 'drop'}]}, 'no picture'),
        ({'decisions': [{'picture': 'a', 'object': 10**6, 'action': 'drop'}]}, 'no object 1000000'),
        ({'decisions': [{'picture': 'a', 'object': True, 'action': 'drop'}]}, 'no object True'),
        ({'decisions': [{'picture': 'a', 'object': 1.0, 'action': 'drop'}]}, 'no object 1.0'),
        ({'decisions': [{'picture': 'a', 'object': [1], 'action': 'drop'}]}, 'decision 1'),
        ({'decisions': [{'picture': 'a', 'object': 1, 'action': 'burn'}]}, "'burn' is none of keep"),
        ({'decisions': [{'picture': 'a', 'object': 1, 'action': 'relabel', 'label': 'cow'}]}, "no class 'cow'"),
        ({'decisions': [{'picture': 'a', 'object': 1, 'action': 'relabel'}]}, "has no 'label'"),
        ({'decisions': [{'picture': 'a', 'object': 1, 'action': 'relabel', 'label': {}}]}, 'decision 1'),
        ({'decisions': 2 * [{'picture': 'a', 'object': 1, 'action': 'drop'}]}, 'twice'),
    ],
)
@pytest.mark.parametrize('labelled', ['labelme'], indirect=True)
def test_bad_decisions_change_nothing(labelled, change, said):
    before, state = contents(labelled), Store(labelled).decisions()
    good = {'picture': 'a', 'object': 2, 'action': 'drop'}
    if isinstance(change.get('decisions'), list):
        change = {'decisions': [*change['decisions'], good]}
    with pytest.raises(UserError, match=re.escape(said)):
        apply_file(labelled, decisions(labelled, **change))
    assert contents(labelled) == before and Store(labelled).decisions() == state


@pytest.mark.parametrize('text', ['', '{', '[]', 'null', '[' * 100_000, '{"kind": NaN}'])
@pytest.mark.parametrize('labelled', ['coco'], indirect=True)
def test_files_that_are_no_decisions_are_named(labelled, tmp_path, text):
    path = tmp_path / 'bad.json'
    path.write_text(text)
    with pytest.raises(UserError, match='bad.json'):
        apply_file(labelled, path)
    with pytest.raises(UserError, match=r'nowhere.json'):
        apply_file(labelled, tmp_path / 'nowhere.json')
    with pytest.raises(UserError, match='not made by'):
        apply_file(tmp_path, path)


def test_a_killed_application_is_finished_by_the_next_command(labelled, shots, monkeypatch):
    store = Store(labelled)
    records = store.records()
    path = decisions(labelled, *((record.name, record.objects[0].id, 'drop') for record in records))
    twin = labelled.with_name('twin')
    shutil.copytree(labelled, twin, symlinks=True)
    apply_file(twin, path)
    put, calls = module.put, []

    def stop(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        put(*args)

    monkeypatch.setattr(module, 'put', stop)
    try:
        apply_file(labelled, path)
    except KeyboardInterrupt:
        assert store.pending()
    monkeypatch.setattr(module, 'put', put)
    label_folder(shots, labelled, lambda: DrawnTeacher(WORDS), Order(store.opened().layout, Rules(split_regions=True)))
    assert not store.pending()
    assert contents(labelled) == contents(twin)


def test_what_was_corrected_by_hand_is_not_written_over(labelled):
    store = Store(labelled)
    run = store.opened()
    name = store.records()[0].name
    per_picture = [file for file, _ in LAYOUTS[run.layout].of_picture(store.records()[0], run)]
    whole = [file for file, _ in LAYOUTS[run.layout].of_set(store.records(), run)]
    edited = labelled / (per_picture or whole)[0]
    edited.write_bytes(edited.read_bytes() + b' ')
    before = contents(labelled)
    for _ in range(2):
        with pytest.raises(UserError, match=f'{edited.name}.*was changed since'):
            apply_file(labelled, decisions(labelled, (name, 1, 'drop')))
        assert contents(labelled) == before and not store.decisions() and not store.pending()
    edited.unlink()
    apply_file(labelled, decisions(labelled, (name, 1, 'drop')))
    assert store.decisions() == {name: {'1': None}} and edited.exists()


class Page(HTMLParser):
    """Tags, and the text of the script of data."""

    def __init__(self):
        super().__init__()
        self.tags, self.data, self._inside = [], '', False

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._inside = ('id', 'data') in attrs

    def handle_data(self, data):
        if self._inside:
            self.data += data


@pytest.mark.parametrize('labelled', ['coco', 'labelme'], indirect=True)
def test_the_page_holds_words_and_names_as_data(labelled):
    path, count = write_page(labelled)
    text = path.read_text()
    page = Page()
    page.feed(text)
    assert page.tags.count('script') == 2 and 'img' not in page.tags and 'b' not in page.tags
    data = json.loads(page.data)
    assert data['classes'] == WORDS and len(data['objects']) == count
    scores = [entry['score'] for entry in data['objects']]
    assert scores == sorted(scores)
    for picture in data['pictures']:
        if picture['name'] == 'b':
            assert picture['src'].startswith('data:image/jpeg;base64,')
        else:
            there = labelled / unquote_to_bytes(picture['src']).decode()
            assert there.is_file() and picture['src'].isascii() and '<' not in picture['src']


@pytest.mark.parametrize('labelled', ['coco'], indirect=True)
def test_objects_without_a_score_come_first(labelled):
    store = Store(labelled)
    record = store.records()[0]
    data = record.to_json()
    data['objects'][-1]['score'] = None
    store.add(type(record).from_json(data))
    listed = page_data(store, store.opened())['objects']
    assert listed[0]['score'] is None and listed[1]['score'] == min(o['score'] for o in listed[1:])


@pytest.mark.skipif(
    shutil.which('node') is None, reason='the script of the page runs in a browser; node checks it here'
)
@pytest.mark.parametrize('labelled', ['masks'], indirect=True)
def test_what_the_page_saves_is_what_apply_takes(labelled, tmp_path):
    """The page's own script, with a document that only knows what it asks for."""
    path, _ = write_page(labelled)
    script = path.read_text().rpartition('<script>')[2].partition('</script>')[0]
    page = Page()
    page.feed(path.read_text())
    stub = """
    const node = () => {
      const n = {children: [], attributes: {}, firstChild: {replaceWith() {}}, querySelector: () => node()};
      n.classList = {add() {}, remove() {}, toggle() {}};
      n.setAttribute = (k, v) => { n.attributes[k] = v; };
      n.append = (...more) => { n.children.push(...more); };
      n.add = n.scrollIntoView = n.addEventListener = () => {};
      return n;
    };
    const keys = {}, named = {}, text = process.argv[2];
    const find = (id) => named[id] ||= Object.assign(node(), {textContent: id === 'data' ? text : ''});
    const listen = (kind, run) => { keys[kind] = run; };
    global.document = {getElementById: find, createElement: node, createElementNS: node, addEventListener: listen};
    global.localStorage = {getItem: () => null, setItem() {}};
    global.Option = function () {};
    global.IntersectionObserver = class { observe() {} unobserve() {} };
    const press = (key) => keys.keydown({key, target: {tagName: 'BODY'}, preventDefault() {}});
    """
    presses = "for (const key of ['d', '3', 'k', 'x', 'ArrowLeft', 'u']) press(key);"
    program = tmp_path / 'page.js'
    program.write_text(stub + script + presses + 'console.log(JSON.stringify(decisions()));')
    said = subprocess.run(['node', program, page.data], capture_output=True, text=True, check=True, timeout=60).stdout
    saved = tmp_path / 'decisions.json'
    saved.write_text(said)
    listed = json.loads(page.data)
    first, second = listed['objects'][:2]
    names = [picture['name'] for picture in listed['pictures']]
    made = {(d['picture'], d['object']): d['action'] for d in json.loads(said)['decisions']}
    expected = 'keep' if second['label'] == 2 else 'relabel'
    assert made == {
        (names[first['picture']], first['object']): 'drop',
        (names[second['picture']], second['object']): expected,
    }
    apply_file(labelled, saved)
    record = next(r for r in Store(labelled).records() if r.name == names[first['picture']])
    dropped = next(o for o in record.objects if o.id == first['object'])
    labels = np.asarray(Image.open(labelled / f'masks/{record.name}.png'))
    assert (labels[dropped.mask] == 255).all()
