"""Common nouns that words are compared with: what a picture says for a word, it must not say for any word."""

from __future__ import annotations

import functools
from pathlib import Path

from denseclip.clip.vocabulary import Vocabulary, own_list

_FILE = Path(__file__).parent / 'word_lists' / 'common_nouns.txt'


@functools.cache
def unrelated_words() -> tuple[str, ...]:
    """The list, the same for every model; ``studies/word_confidence/nouns.py`` has chosen it."""
    return own_list(_FILE).names


def unrelated_rows(vocabulary: Vocabulary) -> list[int]:
    """Numbers of the words of the list that are no name of any class."""
    own = {name.casefold() for group in vocabulary.name_groups for name in group}
    return [k for k, word in enumerate(unrelated_words()) if word.casefold() not in own]
