"""Vocabularies: what is parsed, what is refused, what comes with the suite."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.clip.vocabulary import ClassEntry, Vocabulary, VocabularyError, available

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
        ('car=car', 'duplicate'),
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
    vocabulary = Vocabulary.of(str(path))
    assert vocabulary.names == ('road', 'car', 'sky', 'cloud')
    assert vocabulary.classes[1].synonyms == ('automobile', 'vehicle')
    assert Vocabulary.of(path) == vocabulary
    path.write_text('road\nroad\n')
    with pytest.raises(VocabularyError, match=r'classes\.txt: duplicate'):
        Vocabulary.from_file(path)
    with pytest.raises(FileNotFoundError, match=r"class list '.*no\.txt' does not exist"):
        Vocabulary.of(str(tmp_path / 'no.txt'))


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
