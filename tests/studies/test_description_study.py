"""The control of descriptions: what is drawn, and when it says that descriptions say nothing."""

import statistics

import torch

from denseclip.clip.differences import Difference
from denseclip.clip.unrelated import unrelated_words
from denseclip.clip.vocabulary import Vocabulary
from denseclip.models.functional.pair_scores import compared_again
from denseclip.models.segmentors.compares_pairs import pair_table
from studies.description_study import pair_variants, report, shuffled, variants

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


class WordsOfTwo:
    """Texts as the sum of their words' vectors, in a world of two classes that look like two words."""

    def __init__(self):
        words = ['mug', 'bottle', 'handle', 'neck', *unrelated_words()]
        rows = torch.nn.functional.normalize(torch.randn(len(words), 256, generator=torch.Generator().manual_seed(0)))
        self.rows = dict(zip(words, rows, strict=True))

    def __call__(self, texts):
        found = [sum(self.rows.get(word, torch.zeros(256)) for word in text.split()) for text in texts]
        return torch.nn.functional.normalize(torch.stack(found), dim=1)


def test_a_useless_description_shows_as_useless_and_a_useful_one_as_useful():
    """Regions look like "handle" or "neck", their names are learnt badly: sentences that say so help, others do not."""
    encode, words = WordsOfTwo(), Vocabulary.parse('mug; bottle')
    draw = torch.Generator().manual_seed(1)
    truth = torch.arange(400) % 2
    looks = encode(['handle', 'neck'])[truth] + 0.3 * encode(['mug', 'bottle'])[truth]
    regions = torch.nn.functional.normalize(looks + 0.25 * torch.randn(looks.shape, generator=draw), dim=1)

    def accuracy(vocabulary):
        logits = 20 * regions @ encode(['mug', 'bottle']).T
        if vocabulary.differences:
            logits = compared_again(logits, regions, pair_table(vocabulary, encode, torch.device('cpu')), 20.0, 2)
        return 100 * float((logits.argmax(dim=1) == truth).float().mean())

    def table(difference):
        kinds = pair_variants(words, [Difference(('mug', 'bottle'), (difference,))], 5)
        return {name: [accuracy(each) for each in many] for name, many in kinds.items()}

    useful = table(('mug handle', 'bottle neck'))
    assert 'say more than random words' in report(useful)
    assert useful['exchanged'][0] < statistics.mean(useful['random words']) < useful['descriptions'][0]
    for said in (('mug temple', 'bottle ferry'), ('mug ferry', 'bottle temple')):
        assert 'say no more than random words' in report(table(said))
