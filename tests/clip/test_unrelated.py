"""The common nouns: one list, without the words that are asked for."""

from denseclip.clip.unrelated import unrelated_rows, unrelated_words
from denseclip.clip.vocabulary import Vocabulary


def test_names_of_classes_are_left_out_whatever_their_case():
    words = unrelated_words()
    assert len({word.casefold() for word in words}) == len(words) >= 100
    assert unrelated_rows(Vocabulary.of('zeppelin')) == list(range(len(words)))
    asked = Vocabulary.of(f'{words[3].upper()}; thing = {words[5]}, other')
    assert unrelated_rows(asked) == [k for k in range(len(words)) if k not in (3, 5)]
