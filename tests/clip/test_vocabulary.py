"""Vocabularies: what is parsed, what is refused, what comes with the suite."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.clip import vocabulary as module
from denseclip.clip.vocabulary import ClassEntry, Vocabulary, VocabularyError, available, typed_vocabulary

NAMES = st.lists(
    st.text(st.characters(categories=('L', 'N')), min_size=1, max_size=8),
    min_size=1,
    max_size=6,
    unique_by=str.casefold,
)


def test_grammar():
    vocabulary = Vocabulary.parse(' road ; car=automobile,  sports   car; sky ; ')
    assert vocabulary.names == ('road', 'car', 'sky')
    assert vocabulary.classes[1] == ClassEntry('car', ('automobile', 'sports car'))
    assert vocabulary.prompts == ('road', 'car', 'automobile', 'sports car', 'sky')
    assert vocabulary.class_index.tolist() == [0, 1, 1, 1, 2]
    assert len(vocabulary) == 3


def test_describe_echoes_what_was_understood():
    text = Vocabulary.parse('road; car=automobile', background='prompts', background_names=('wall', 'door')).describe()
    assert '2 classes, background: prompts' in text
    assert 'car = automobile' in text
    assert '2  background = wall, door' in text
    assert Vocabulary.parse('zebra').describe().startswith('1 class, ')


@settings(max_examples=30, deadline=None)
@given(NAMES)
def test_any_names_survive_parsing_and_plain_data(names):
    vocabulary = Vocabulary.parse('; '.join(names))
    assert vocabulary.names == tuple(names)
    assert Vocabulary.of(vocabulary.to_dict()) == vocabulary
    assert Vocabulary.from_names(names) == vocabulary


@pytest.mark.parametrize('text', ['', '  ', ';', '\n'])
def test_empty_vocabulary(text):
    with pytest.raises(VocabularyError, match='vocabulary is empty: name at least one class'):
        Vocabulary.parse(text)


@pytest.mark.parametrize('text', ['road;;sky', 'car=;sky', 'car=auto,,van', '=auto'])
def test_empty_names_are_located(text):
    with pytest.raises(VocabularyError, match=r'class \d .*has an empty name'):
        Vocabulary.parse(text)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('road; sky; Road', "duplicate class name: 'Road' names both 'road' and 'Road'"),
        ('road; road', "'road' is listed twice"),
        ('car=auto; truck=auto', "'auto' names both 'car' and 'truck'"),
    ],
)
def test_duplicates_name_both_classes(text, message):
    with pytest.raises(VocabularyError, match=message):
        Vocabulary.parse(text)


def test_braces_are_ordinary_text():
    vocabulary = Vocabulary.parse('a {} sign; {0}; {name}')
    assert vocabulary.names == ('a {} sign', '{0}', '{name}')


def test_background_policies():
    prompts = Vocabulary.parse('cat', background='prompts', background_names=('wall', 'sky'))
    assert prompts.prompts == ('cat', 'wall', 'sky')
    assert prompts.class_index.tolist() == [0, 1, 1]
    assert len(prompts) == 1
    assert Vocabulary.parse('cat', background='threshold', threshold=0.3).threshold == 0.3
    assert Vocabulary.parse('cat', background='learned').background == 'learned'


@pytest.mark.parametrize(
    'fields',
    [
        {'background': 'nothing'},
        {'background': 'prompts'},
        {'background_names': ('wall',)},
        {'background': 'threshold'},
        {'threshold': 0.5},
        {'background': 'prompts', 'background_names': ('',)},
    ],
)
def test_background_settings_must_agree(fields):
    with pytest.raises(VocabularyError, match='background'):
        Vocabulary.parse('cat', **fields)


def test_file(tmp_path):
    path = tmp_path / 'classes.txt'
    path.write_text('\ufeff# my street\nroad\n\ncar = automobile, vehicle  # two more\nsky; cloud\n', encoding='utf-8')
    vocabulary = Vocabulary.of(path)
    assert vocabulary.names == ('road', 'car', 'sky', 'cloud')
    assert vocabulary.classes[1].synonyms == ('automobile', 'vehicle')
    assert Vocabulary.of({'from_file': str(path), 'background': 'learned'}).classes == vocabulary.classes
    path.write_text('road\n\nsky\nroad\n')
    with pytest.raises(VocabularyError, match=r"classes\.txt, line 4: duplicate class name: 'road' is listed twice"):
        Vocabulary.from_file(path)
    path.write_text('road; a =, b\n')
    with pytest.raises(VocabularyError, match=r'classes\.txt, line 1: class 2 \(a\) has an empty name'):
        Vocabulary.from_file(path)
    with pytest.raises(FileNotFoundError, match=r"class list '.*no\.txt' does not exist"):
        Vocabulary.of(tmp_path / 'no.txt')


def test_text_is_never_taken_for_a_path(tmp_path, monkeypatch):
    """Text may come from data, and a file of its name may exist: nothing is opened, and nothing misread."""
    monkeypatch.chdir(tmp_path)
    for name in ('words.txt', 'words.json', 'sky'):
        (tmp_path / name).write_text('["road"]')
    for text in ('words.txt', str(tmp_path / 'words.txt'), 'WORDS.JSON', 'no.csv'):
        with pytest.raises(VocabularyError, match='looks like a file'):
            Vocabulary.of(text)
        assert Vocabulary.of([text]).names == (text,)
        assert Vocabulary.of({text: []}).names == (text,)
    assert Vocabulary.of('sky').names == ('sky',)
    assert Vocabulary.of('words.txt; sky').names == ('words.txt', 'sky')
    assert Vocabulary.of({'from_file': ['words.txt']}).names == ('from_file',)


def test_a_name_may_be_said_twice_within_its_class():
    """Names of data sets beside words for them: "Platelets = platelets"."""
    vocabulary = Vocabulary.parse('Platelets = platelets, thrombocytes, THROMBOCYTES; sky=sky')
    assert vocabulary.classes == (ClassEntry('Platelets', ('thrombocytes',)), ClassEntry('sky'))
    assert Vocabulary.of(vocabulary.to_dict()) == vocabulary


def test_what_is_typed_may_be_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('words.txt', 'sky', 'camvid'):
        (tmp_path / name).write_text('road\ncar = automobile\n')
    wanted = Vocabulary.parse('road; car = automobile')
    for text in ('words.txt', './words.txt', './sky', str(tmp_path / 'words.txt')):
        vocabulary, notes = typed_vocabulary(text)
        assert vocabulary == wanted == Vocabulary.from_file(text)
        assert text in notes[0]
    vocabulary, [note] = typed_vocabulary('sky')
    assert vocabulary.names == ('sky',) and './sky' in note
    assert typed_vocabulary('camvid') == (Vocabulary.named('camvid'), ())
    vocabulary, [note] = typed_vocabulary('road/rail')
    assert vocabulary.names == ('road/rail',) and 'there is no file of this name' in note
    assert typed_vocabulary('road/rail; sky')[1] == ()
    assert typed_vocabulary('a' * 5000)[0].names == ('a' * 5000,)
    assert typed_vocabulary('a.txt; b.txt')[0].names == ('a.txt', 'b.txt')
    with pytest.raises(FileNotFoundError, match=r'no\.txt'):
        typed_vocabulary('no.txt')


def test_how_text_was_read_is_said():
    with pytest.warns(UserWarning, match=r'"ball, box, tree" is read as 3 classes.*"ball = box, tree"'):
        assert Vocabulary.of('ball, box, tree').names == ('ball', 'box', 'tree')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        Vocabulary.of('ball; box = crate, chest; tree')
        Vocabulary.of(['screen, CRT screen'])
        Vocabulary.named('ade20k_full')


def test_lists_of_the_suite_keep_their_commas():
    full = Vocabulary.named('ade20k_full')
    assert 'building, edifice' in full.names and len(full) == 847
    assert Vocabulary.from_file(module.__file__.replace('vocabulary.py', 'vocabularies/ade20k_full.txt')) == full


def test_published_lists_may_share_further_names():
    full = Vocabulary.named('ade20k_full_fcclip')
    assert full.shared_names and len(full) == len(set(full.names)) == 847
    assert sum('dog' in group for group in full.groups) == 3
    assert Vocabulary.of(full.to_dict()) == full
    with pytest.raises(VocabularyError, match="names both 'cat' and 'dog'"):
        Vocabulary.of({'cat': ['pet'], 'dog': ['pet']})
    with pytest.raises(VocabularyError, match="duplicate class name: 'Cat' names both"):
        Vocabulary.of({'classes': {'cat': [], 'Cat': []}, 'shared_names': True})
    with pytest.raises(VocabularyError, match='empty name'):
        Vocabulary.of({'classes': {'cat': ['', 'pet']}, 'shared_names': True})
    assert not Vocabulary.named('coco_panoptic_fcclip').shared_names


def test_of_takes_every_form():
    wanted = Vocabulary.parse('road; car=automobile')
    assert Vocabulary.of(wanted) is wanted
    assert Vocabulary.of(['road', ('car', ['automobile'])]) == wanted
    assert Vocabulary.of(['road', {'name': 'car', 'synonyms': ['automobile']}]) == wanted
    assert Vocabulary.of({'road': [], 'car': 'automobile'}) == wanted
    assert Vocabulary.of({'classes': 'road; car=automobile'}) == wanted
    assert Vocabulary.of({'classes': ['road'], 'background': 'learned'}).background == 'learned'
    with pytest.raises(VocabularyError, match='is no class name'):
        Vocabulary.of([3])


def test_names_in_lists_are_not_parsed():
    assert Vocabulary.of(['door; window=frame, glass']).names == ('door; window=frame, glass',)


@pytest.mark.parametrize(('name', 'classes'), [('ade20k', 150), ('coco', 80), ('camvid', 11), ('camvid_synonyms', 11)])
def test_lists_of_the_suite(name, classes):
    assert name in available()
    assert len(Vocabulary.of(name)) == classes


def test_unknown_list():
    with pytest.raises(VocabularyError, match="no class list is called 'ade'; there are ade20k"):
        Vocabulary.named('ade')


def test_camvid_synonyms_are_held_out():
    """No word used in training may appear among the held-out names."""
    training = {n.casefold() for n in Vocabulary.named('camvid').prompts}
    held_out = {n.casefold() for n in Vocabulary.named('camvid_synonyms').prompts}
    assert not training & held_out


def test_lists_agree_with_the_host_stack():
    pytest.importorskip('mmseg')
    from mmseg.utils.class_names import ade_classes

    assert Vocabulary.named('ade20k').names == tuple(' '.join(n.split()) for n in ade_classes())


def test_vocabularies_are_values():
    first, second = Vocabulary.parse('a; b'), Vocabulary.parse('a;b')
    assert first == second and hash(first) == hash(second)


def test_descriptions_stand_for_classes_and_keep_their_names():
    words = Vocabulary.parse('sky; car = automobile')
    found = words.with_descriptions({'Automobile': ['four wheels', 'a  roof', 'four wheels'], 'cat': ['whiskers']})
    assert found.classes[1].descriptors == ('four wheels', 'a roof')
    assert found.groups == (('sky',), ('car, which has four wheels', 'car, which is a roof'))
    assert found.name_groups == words.groups and found.class_index.tolist() == [0, 1, 1]
    assert Vocabulary.of(found.to_dict()) == found
    assert 'four wheels | a roof' in found.describe()
    with pytest.raises(VocabularyError, match='none of these is among the classes sky, car'):
        words.with_descriptions({'cat': ['whiskers']})


@pytest.mark.parametrize('name', ['traffic_light', 'traffic light', 'Traffic Light'])
@pytest.mark.parametrize('described', ['traffic_light', 'TRAFFIC light'])
def test_descriptions_find_names_with_and_without_underscores(name, described):
    found = Vocabulary.from_names([name, 'road']).with_descriptions({described: ['three lamps'], 'unknown': ['x']})
    assert [entry.descriptors for entry in found.classes] == [('three lamps',), ()]
