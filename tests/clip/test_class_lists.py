"""Class lists as people have them: every kind is read as what it means, or refused with its line."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.clip.class_lists import VocabularyError, parse_text, read_list
from denseclip.clip.class_lists.shared_names import own_names
from denseclip.clip.vocabulary import Vocabulary
from denseclip.clip.vocabulary import VocabularyError as FromVocabulary

WORDS = st.text(st.characters(categories=('L',)), min_size=1, max_size=8)
NAMES = st.lists(WORDS, min_size=2, max_size=6, unique_by=str.casefold)
THREE = [('ball', 'sphere'), ('box', 'crate'), ('tree',)]


def classes(found):
    return [(name.strip(), *(word.strip() for word in more)) for name, more in found.groups]


@pytest.mark.parametrize(
    'text',
    [
        'ball, box, tree',
        'ball,box,tree,',
        'ball | box | tree',
        'ball . box . tree .',
        'ball，box、tree',
        '\ufeffball, box, tree',
    ],
)
def test_one_entry_with_other_separators_is_several_classes(text):
    found = parse_text(text)
    assert classes(found) == [('ball',), ('box',), ('tree',)]
    assert 'read as 3 classes' in found.notes[0] and '"ball = box, tree"' in found.notes[0]


@settings(max_examples=40, deadline=None)
@given(NAMES)
def test_the_same_names_by_commas_semicolons_lines_and_json(names):
    wanted = [(name,) for name in names]
    for text in (', '.join(names), '; '.join(names), '\n'.join(names), json.dumps(names)):
        assert classes(parse_text(text)) == wanted
    assert classes(parse_text(json.dumps({name: [] for name in names}))) == wanted
    numbered = '\n'.join(f'{k}: {name}' for k, name in enumerate(names))
    assert classes(parse_text(numbered)) == wanted


@pytest.mark.parametrize(
    'text',
    [
        'ball, sphere\nbox, crate\ntree',
        'ball, sphere; box,crate; tree',
        '0:invalid_class_id\n1:ball,sphere\n2:box,crate\n3:tree',
        '1:ball,sphere\n2:box,crate\n3:invalid_class_id\n7:tree',
        '3:tree\n1:ball,sphere\n2:box,crate',
        '0 ball, sphere\n1 box, crate\n2 tree',
        '1. ball, sphere\n2. box, crate\n3. tree',
        '0,ball,sphere\n1,box,crate\n2,tree',
        '0\tball, sphere\n1\tbox, crate\n2\ttree',
        '["ball,sphere"]'.replace('"ball,sphere"', '["ball", "sphere"], ["box", ["crate"]], "tree"'),
        '{"ball": ["sphere"], "box": "crate", "tree": null}',
        '{"1": ["ball", "sphere"], "2": ["box", "crate"], "3": "tree"}',
        '[{"name": "ball", "synonyms": ["ball", "sphere"]}, {"name": "box", "synonyms": ["crate"]}, {"name": "tree"}]',
    ],
)
def test_three_classes_with_further_names(text):
    names = Vocabulary.from_names(parse_text(text).groups)
    assert [c.names for c in names.classes] == THREE


@pytest.mark.parametrize(
    'data',
    [
        {'0': 'a', '1': 'b', '10': 'c'},
        {'a': 0, 'b': 1, 'c': 2},
        {'id2label': {'0': 'a', '1': 'b', '2': 'c'}, 'num_labels': 3},
        {'path': 'x', 'train': 'images/train', 'val': 'images/val', 'nc': 3, 'names': ['a', 'b', 'c']},
        {'path': 'x', 'train': 'y', 'val': 'z', 'names': ['a', 'b', 'c']},
        {'categories': [{'id': 7, 'name': 'c'}, {'id': 2, 'name': 'a'}, {'id': 3, 'name': 'b'}], 'images': [{}]},
        {'classes': ['a', 'b', 'c']},
    ],
)
def test_ids_are_no_names(data):
    assert classes(parse_text(json.dumps(data))) == [('a',), ('b',), ('c',)]


@pytest.mark.parametrize(
    'text',
    ['7 eleven; 8 ball', '4:3 screen; 16:9 screen', '{0}; {name}', '[car]', 'a {} sign', '3D printer', 'vase 1 2 3'],
)
def test_names_with_numbers_and_marks_stay(text):
    found = parse_text(text)
    assert classes(found) == [(name.strip(),) for name in text.split(';')] and not found.notes


def test_a_comma_beside_the_grammar_belongs_to_its_name_and_is_said():
    found = parse_text('screen, CRT screen; car = automobile, van')
    assert classes(found) == [('screen, CRT screen',), ('car', 'automobile', 'van')]
    assert "'screen, CRT screen' is one name" in found.notes[0]


def test_tables_of_colours(tmp_path):
    for lines in (
        '# label:color_rgb:parts:actions\nsky:70,130,180::\nroad sign:0,0,1:a,b:\n',
        '70 130 180\tsky\n0 0 1\troad sign\n',
        'sky, 70, 130, 180\nroad sign, 0, 0, 1\n',
    ):
        path = tmp_path / 'labelmap.txt'
        path.write_text(lines)
        assert classes(read_list(path)) == [('sky',), ('road sign',)]


def test_tables_with_a_heading(tmp_path):
    for suffix, text in (
        ('.csv', 'name,r,g,b\nsky,1,2,3\nroad,4,5,6\n'),
        ('.csv', 'id;class\n0;sky\n1;road\n'),
        ('.tsv', 'label\tclass\tpixels\n0\tsky\t12\n1\troad\t7\n'),
        ('.csv', 'sky\nroad\n'),
    ):
        path = tmp_path / f'classes{suffix}'
        path.write_text(text)
        assert classes(read_list(path)) == [('sky',), ('road',)]


def test_yaml(tmp_path):
    path = tmp_path / 'data.yaml'
    path.write_text('train: images/train\nval: images/val\nnames:\n  0: sky\n  1: road\n')
    assert classes(read_list(path)) == [('sky',), ('road',)]
    path.write_text('names: [sky, no]\n')
    with pytest.raises(VocabularyError, match=r'data\.yaml: False is no class name'):
        read_list(path)
    path.write_text('names: [sky,\n  road: }\n')
    with pytest.raises(VocabularyError, match=r'data\.yaml: line 2, column \d+: no YAML'):
        read_list(path)
    path.write_text('!!python/object/apply:pathlib.Path.touch [marker]\n')
    with pytest.raises(VocabularyError, match='no YAML'):
        read_list(path)


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'utf-16-be'])
@pytest.mark.parametrize('name', ['list.txt', 'list.json'])
def test_encodings_that_say_what_they_are(tmp_path, encoding, name):
    path = tmp_path / name
    text = 'Bäume\nsky\n' if name.endswith('txt') else '["Bäume", "sky"]'
    mark = {'utf-16-le': b'\xff\xfe', 'utf-16-be': b'\xfe\xff'}.get(encoding, b'')
    path.write_bytes(mark + text.encode(encoding))
    assert classes(read_list(path)) == [('Bäume',), ('sky',)]


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('sky\nBäume\n'.encode('latin-1'), r'line 2: no UTF-8 \(byte 0xe4\).*iconv'),
        ('sky\nBäume\n'.encode('utf-16-le'), 'line 1: no text'),
        (b'\xff\xfeabc', 'begins as UTF-16'),
        (b'["sky",\n "road"\n "car"]', r'line 3, column 2: no JSON'),
        (b'{"sky": [], "sky": ["heaven"]}', "'sky' is listed twice"),
        (b'["sky", 3]', '3 is no class name'),
        (b'{"sky": {"a": 1}}', "'sky': .* are no further names"),
        (b'[["sky"], []]', 'is no class name'),
        (b'1:sky\n1:road\n', 'the id 1 stands there twice'),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(tmp_path, content, message):
    path = tmp_path / 'list.txt'
    path.write_bytes(content)
    with pytest.raises(VocabularyError, match=rf'list\.txt: .*{message}'):
        read_list(path)
    assert VocabularyError is FromVocabulary


def test_json_files_hold_json(tmp_path):
    path = tmp_path / 'list.json'
    path.write_text('sky; road')
    with pytest.raises(VocabularyError, match=r'list\.json: line 1: no JSON list'):
        read_list(path)


def test_comments_and_hashes(tmp_path):
    path = tmp_path / 'list.txt'
    path.write_text('# heading\nC# book  # a comment\n  # another\n\nsky#\n')
    found = read_list(path)
    assert classes(found) == [('C# book',), ('sky#',)] and found.lines == (2, 5)


def test_names_of_several_classes_go_to_one():
    """As in published lists of synonyms: some names begin two classes, others stand in two."""
    groups, notes = own_names(
        [
            ('bag', ('sack', 'purse')),
            ('pedestal', ()),
            ('bag', ('handbag', 'purse')),
            ('pedestal', ('plinth',)),
            ('purse', ()),
        ]
    )
    assert [name for name, _ in groups] == ['bag', 'pedestal', 'handbag', 'plinth', 'purse']
    said = [name for name, more in groups for name in (name, *more)]
    assert len(said) == len(set(said))
    assert 'handbag (for bag)' in notes[0] and 'purse' in notes[1]
    assert own_names([('a', ('b', 'B', 'a')), ('c', ())]) == ((('a', ('b',)), ('c', ())), [])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from('abcdefgh'), min_size=1, max_size=4), min_size=1, max_size=6))
def test_shared_names_lose_no_class(lists):
    groups, notes = own_names([(first, tuple(more)) for first, *more in lists])
    assert len(groups) == len(lists)
    for (name, more), names in zip(groups, lists, strict=True):
        assert {name, *more} <= set(names)
    further = [word for _, more in groups for word in more]
    assert len(further) == len(set(further)) and not set(further) & {name for name, _ in groups}
    if len({name for names in lists for name in names}) == sum(map(len, lists)):
        assert not notes and list(groups) == [(first, tuple(more)) for first, *more in lists]


@pytest.mark.parametrize(
    'text', ['[' * 50_000 + ']' * 50_000, '["road", ' + '7' * 5000 + ']', '{"road": ' + '7' * 5000 + '}']
)
def test_json_that_python_cannot_hold_is_told(text):
    with pytest.raises(VocabularyError, match='nested too deeply or holds a number'):
        parse_text(text)


@pytest.mark.parametrize('text', ['{0}: sky; {0}: road', '{0} sky; {0} road', '{{"{0}": "sky", "1": "road"}}'])
def test_numbers_without_end_are_no_ids(text):
    assert len(parse_text(text.format('7' * 5000)).groups) == 2


@pytest.mark.parametrize('half', ['\ud800', '\udcff', '\udfff'])
def test_half_characters_are_refused_in_whole_ones(half):
    for make in (
        lambda: Vocabulary.from_names(['sky', f'a{half}']),
        lambda: Vocabulary.from_names([('sky', ['heaven', half])]),
        lambda: Vocabulary.from_names(['sky'], background='prompts', background_names=(half,)),
    ):
        with pytest.raises(VocabularyError, match='half a character') as error:
            make()
        assert str(error.value).encode()
