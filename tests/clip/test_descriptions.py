"""Sentences from what classes look like, files of them, and descriptions that say nothing."""

import pytest

from denseclip.clip.class_lists import VocabularyError
from denseclip.clip.descriptions import (
    described,
    descriptor_clause,
    differential_sentences,
    random_descriptors,
    read_descriptions,
)


@pytest.mark.parametrize(
    ('descriptor', 'clause'),
    [
        ('four legs', 'which has four legs'),
        ('a long tail', 'which is a long tail'),
        ('animal prints', 'which has animal prints'),
        ('used by cooks', 'which is used by cooks'),
        ('can carry ladders', 'which can carry ladders'),
        ('canvas sides', 'which has canvas sides'),
    ],
)
def test_clauses_go_by_whole_words(descriptor, clause):
    assert descriptor_clause(descriptor) == clause


def test_a_class_without_descriptors_is_its_name():
    assert described('night_sky', []) == ['night sky']
    assert described('cat', ['four legs'], order='append') == ['which has four legs, cat']
    with pytest.raises(ValueError, match='order'):
        described('cat', [], order='behind')


def test_classes_are_told_apart_pair_by_pair():
    pairs = {'0_2': {'classes': [2, 0], 'prompt_pairs': [{'prompt_pair': ['A red C.', 'A blue a.']}] * 2}}
    found = differential_sentences([2, 0, 1], ['a', 'b', 'C'], pairs)
    assert found == [['A red C.', 'a photo of a C.'], ['A blue a.', 'a photo of a a.'], ['a photo of a b.']]
    assert differential_sentences([2, 0, 1], ['a', 'b', 'C'], pairs, listed_only=True) == [
        ['A red C.'],
        ['A blue a.'],
        ['a photo of a b.'],
    ]


def test_random_descriptors_have_the_form_of_the_real_ones():
    real = {'cat': ('four legs', 'a long thin tail'), 'lamp': ()}
    made = random_descriptors(real, ['x', 'y', 'z'], 3)
    assert {name: [len(text.split()) for text in texts] for name, texts in made.items()} == {'cat': [2, 4], 'lamp': []}
    assert made == random_descriptors(real, ['x', 'y', 'z'], 3) != random_descriptors(real, ['x', 'y', 'z'], 4)


def test_files_are_read_and_mistakes_named(tmp_path):
    path = tmp_path / 'd.json'
    path.write_text('{"fire_truck": ["red  paint", "red paint", ""], "cat": []}', encoding='utf-8')
    assert read_descriptions(path) == {'fire truck': ('red paint',), 'cat': ()}
    for text in ('[1]', '{"cat": "four legs"}', '{"cat": [4]}', '{', '{}'):
        path.write_text(text)
        with pytest.raises(VocabularyError, match=r'd\.json'):
            read_descriptions(path)
    with pytest.raises(FileNotFoundError, match=r'no\.json'):
        read_descriptions(tmp_path / 'no.json')
