"""Nouns from captions, with a library and without."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denseclip.datasets.miniworld.kinds import COLOURS, THINGS
from studies.mining.nouns import TAGGER, NLTKNouns, WordListNouns, caption_nouns, noun_extractor, plurals

WORDS = 'dog; traffic light; light; knife; cherry; fireman; box'


@pytest.mark.parametrize(
    ('caption', 'nouns'),
    [
        ('Two dogs and knives below a traffic light', ['dog', 'knife', 'traffic light']),
        ('a light, a Dog; a dog.', ['light', 'dog']),
        ('firemen with boxes of cherries', ['fireman', 'box', 'cherry']),
        ('a hot-dog, doghouse and lightning', []),
        ('', []),
    ],
)
def test_word_list(caption: str, nouns: list[str]) -> None:
    assert WordListNouns(WORDS)(caption) == nouns


def test_modifiers_stay_with_their_noun() -> None:
    nouns = WordListNouns('mug; ball', modifiers=['red', 'large'])
    assert nouns('a large red mug, a mug and red balls') == ['large red mug', 'mug', 'red ball']


def test_a_synonym_is_a_noun_of_its_own_and_a_singular_of_the_list_beats_a_plural() -> None:
    assert WordListNouns('mug = cup')('a cup') == ['cup']
    assert WordListNouns('glass; glasses')('glasses and glass') == ['glasses', 'glass']


@given(st.lists(st.sampled_from([thing.name for thing in THINGS]), min_size=1, max_size=4), st.data())
def test_every_listed_noun_of_a_sentence_is_found_once(names: list[str], data) -> None:
    colours = [data.draw(st.sampled_from(sorted(COLOURS))) for _ in names]
    caption = ' and '.join(f'a {colour} {name}' for colour, name in zip(colours, names, strict=True))
    assert WordListNouns('miniworld')(caption) == list(dict.fromkeys(names))


def test_plurals_of_miniworld_are_known() -> None:
    assert all(thing.plural in plurals(thing.name) for thing in THINGS)


def test_nouns_of_several_captions_come_once() -> None:
    assert caption_nouns(['a dog', 'a box and a dog'], noun_extractor(WORDS)) == ['dog', 'box']


def test_settings_are_described_by_what_decides_the_result() -> None:
    assert WordListNouns('b; a').describe() == WordListNouns('a; b').describe()
    assert WordListNouns('a', ['red']).describe() != WordListNouns('a').describe()


def test_without_nltk_the_error_names_the_package_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'nltk', None)
    with pytest.raises(ImportError, match=r'pip install .*mining.*word list'):
        NLTKNouns()
    with pytest.raises(ValueError, match='word lists'):
        noun_extractor('nltk', ['red'])


def test_without_the_model_the_error_names_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    nltk = pytest.importorskip('nltk')
    monkeypatch.setattr(nltk.data, 'path', [str(tmp_path)])
    with pytest.raises(LookupError, match=f'nltk.downloader {TAGGER}'):
        NLTKNouns()


def test_nltk_joins_compounds_and_leaves_out_words_of_pictures(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """A tagger trained on four sentences, in the layout of NLTK's own data."""
    nltk = pytest.importorskip('nltk')
    monkeypatch.setattr(nltk.data, 'path', [str(tmp_path)])
    from nltk.tag.perceptron import PerceptronTagger

    tagged = 'a/DT photo/NN of/IN a/DT big/JJ dog/NN ./.', 'a/DT fire/NN hydrant/NN on/IN grass/NN ./.'
    sentences = [[tuple(token.rsplit('/', 1)) for token in line.split()] for line in tagged * 2]
    tagger = PerceptronTagger(load=False)
    tagger.train(sentences, nr_iter=5)
    tagger.save_to_json(lang='eng', loc=str(tmp_path / 'taggers' / TAGGER))
    assert NLTKNouns()('A photo of a big dog.') == ['dog']
    assert NLTKNouns()('A fire hydrant on grass.') == ['fire hydrant', 'grass']
    assert NLTKNouns(longest=1)('A fire hydrant on grass.') == ['hydrant', 'grass']
