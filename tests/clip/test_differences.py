"""Sentences for pairs of classes: files, words, and controls of the same form."""

import json
from dataclasses import replace

import pytest

from denseclip.clip.class_lists import VocabularyError
from denseclip.clip.differences import (
    Difference,
    exchanged,
    file_of_pairs,
    random_differences,
    read_differences,
)
from denseclip.clip.vocabulary import Vocabulary

MUG = Difference(('mug', 'bottle'), (('a mug with a handle', 'a bottle with a neck'),))


def test_both_layouts_say_the_same(tmp_path):
    ours, theirs = tmp_path / 'ours.json', tmp_path / 'fudd.json'
    ours.write_text(json.dumps({'mug | bottle': [['a mug with a  handle', 'a bottle with a neck']]}))
    entry = {'classes': [2, 0], 'prompt_pairs': [{'prompt_pair': ['a mug with a handle', 'a bottle with a neck']}]}
    theirs.write_text(json.dumps({'0_2': entry}))
    names = ('bottle', 'key', 'mug')
    assert read_differences(ours, names) == read_differences(theirs, names) == (MUG,)
    assert file_of_pairs(ours) and file_of_pairs(theirs)
    plain = tmp_path / 'plain.json'
    plain.write_text('{"mug": ["a handle"]}')
    assert not file_of_pairs(plain) and not file_of_pairs(tmp_path / 'none.json')


@pytest.mark.parametrize(
    ('text', 'says'),
    [
        ('{"mug | bottle": ["a mug"]}', r"d.json', 'mug \| bottle': .*pairs of sentences"),
        ('{"mug | bottle": [["a mug", ""]]}', 'a sentence for each'),
        ('{"mug | bottle": []}', 'a sentence for each'),
        ('{"mug | mug": [["a", "b"]]}', 'two classes'),
        ('{"a | b | c": [["a", "b"]]}', 'two names'),
        ('{"0_9": {"classes": [0, 9], "prompt_pairs": []}}', 'there are 2'),
        ('{"0_1": {"classes": [0]}}', "d.json', '0_1'"),
        ('{"mug": ["a handle"]}', 'must hold pairs'),
        ('[', 'cannot be read as JSON'),
    ],
)
def test_mistakes_are_named(tmp_path, text, says):
    (tmp_path / 'd.json').write_text(text)
    with pytest.raises(VocabularyError, match=says):
        read_differences(tmp_path / 'd.json', ('mug', 'bottle'))


def test_a_vocabulary_takes_pairs_of_its_classes_by_any_name_and_survives_plain_data():
    words = Vocabulary.parse('mug = cup; flask = bottle; key')
    other = Difference(('mug', 'hat'), (('a', 'b'),))
    told = words.with_differences([MUG, other])
    assert told.differences == (Difference(('mug', 'flask'), MUG.sentences),)
    assert Vocabulary.of(json.loads(json.dumps(told.to_dict()))) == told != words
    assert '1 pair' in told.describe()
    assert replace(told, classes=told.classes[1:]).differences == ()
    with pytest.raises(VocabularyError, match='both among the classes mug'):
        words.with_differences([other])


def test_random_words_leave_the_name_and_the_length_alone():
    made = random_differences([MUG], ['x', 'y', 'z'], 0)
    ((one, other),) = made[0].sentences
    assert one.split()[1] == 'mug' and other.split()[1] == 'bottle'
    assert (len(one.split()), len(other.split())) == (5, 5) and set(one.split()) - {'mug'} <= {'x', 'y', 'z'}
    assert made == random_differences([MUG], ['x', 'y', 'z'], 0) != random_differences([MUG], ['x', 'y', 'z'], 1)


def test_exchanged_sentences_say_the_opposite():
    assert exchanged([MUG])[0].sentences == (('a mug with a neck', 'a bottle with a handle'),)
