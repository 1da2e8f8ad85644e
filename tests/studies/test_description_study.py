"""The control of descriptions: what is drawn, and when it says that descriptions say nothing."""

from denseclip.clip.vocabulary import Vocabulary
from studies.description_study import report, shuffled, variants

DESCRIPTIONS = {'sky': ('blue',), 'car': ('four wheels', 'a roof'), 'road': ('grey asphalt',)}


def test_every_class_gets_the_descriptions_of_another():
    for seed in range(20):
        found = shuffled(DESCRIPTIONS, seed)
        assert all(found[name] != DESCRIPTIONS[name] for name in DESCRIPTIONS)
        assert sorted(found.values()) == sorted(DESCRIPTIONS.values())


def test_controls_have_the_form_of_the_descriptions():
    kinds = variants(Vocabulary.parse('sky; car; road'), DESCRIPTIONS, 3)
    assert [len(many) for many in kinds.values()] == [1, 1, 3, 3]
    for words in kinds['random words']:
        assert [len(c.descriptors) for c in words.classes] == [1, 2, 1]
        assert not set(words.prompts) & set(kinds['descriptions'][0].prompts)


def test_descriptions_that_are_no_better_than_random_words_are_called_so():
    scores = {'names alone': [40.0], 'random words': [44.0, 45.0, 46.0], 'descriptions': [46.0]}
    assert 'no more than random words: +1.0' in report(scores)
    assert 'say more than random words: +9.0' in report({**scores, 'descriptions': [54.0]})
