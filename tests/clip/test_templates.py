"""Prompt templates."""

import pytest

from denseclip.clip.templates import fill, resolve_templates, template_sets


@pytest.mark.parametrize(
    ('name', 'count'),
    [('plain', 1), ('photo', 1), ('laion', 2), ('vild', 14), ('openai_imagenet', 80), ('openai_simple', 7)],
)
def test_sets(name, count):
    templates = resolve_templates(name)
    assert len(templates) == len(set(templates)) == count
    assert all(t.count('{}') == 1 for t in templates)
    assert template_sets()[name] == templates


def test_own_sentences():
    assert resolve_templates('a {}.') == ('a {}.',)
    assert resolve_templates(['a {}', 'the {}']) == ('a {}', 'the {}')


@pytest.mark.parametrize('bad', [['a photo'], ['{} and {}'], []])
def test_a_sentence_needs_one_place(bad):
    with pytest.raises(ValueError, match='exactly one'):
        resolve_templates(bad)


def test_unknown_set_suggests_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'openai_imagenet'"):
        resolve_templates('openai-imagenet')


@pytest.mark.parametrize('name', ['{}', '{0}', '{name!r}', '%s', 'road {} sign', '{'])
def test_names_are_never_format_strings(name):
    assert fill('a photo of a {}.', name) == f'a photo of a {name}.'
