"""Nouns of captions: by NLTK's part-of-speech tagger, or by a list of words that needs nothing else.

NLTK is the library that OVSeg's authors name for this step. Its tagger finds nouns that nobody listed, but it needs a
model that is downloaded once (``python -m nltk.downloader averaged_perceptron_tagger_eng``). A word list works on every
machine, finds only what it holds, and knows that ``hot dog`` is one thing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from denseclip.clip.vocabulary import Vocabulary, VocabularyLike

PICTURE_WORDS = (
    *('photo', 'photos', 'photograph', 'picture', 'pictures', 'image', 'images', 'view', 'shot', 'close-up', 'closeup'),
    *('scene', 'background', 'foreground', 'front', 'back', 'side', 'top', 'bottom', 'middle', 'center', 'group'),
    *('couple', 'bunch', 'lot', 'pair', 'number', 'row', 'piece', 'pieces', 'kind', 'type', 'way', 'time', 'day'),
)
"""Nouns of captions that name no region of a picture."""
TAGGER = 'averaged_perceptron_tagger_eng'
_IRREGULAR_ENDINGS = (('f', 'ves'), ('fe', 'ves'), ('y', 'ies'), ('man', 'men'))


class NounExtractor(Protocol):
    """Finds the nouns of one caption, in the order in which they stand there."""

    def __call__(self, caption: str) -> list[str]:
        """Nouns, lower case, each once."""
        ...

    def describe(self) -> dict[str, Any]:
        """What decides the result, as plain data."""
        ...


class WordListNouns:
    """Words of a list, their plurals included; the longest that fits counts, so ``traffic light`` hides ``light``.

    Args:
        words: Anything that :meth:`denseclip.clip.Vocabulary.of` takes; all names and synonyms count.
        modifiers: Words kept when they stand right before a noun (colours: ``red mug``). None by default.

    Example:
        >>> WordListNouns('dog; traffic light; knife')('two dogs and knives below a traffic light')
        ['dog', 'knife', 'traffic light']
    """

    def __init__(self, words: VocabularyLike, modifiers: Iterable[str] = ()) -> None:
        names = [name.casefold() for name in Vocabulary.of(words).prompts]
        self.modifiers = tuple(word.casefold() for word in modifiers)
        self._canonical = {form: name for name in reversed(names) for form in plurals(name)}
        self._canonical |= {name: name for name in names}  # a listed word is itself, whatever it is the plural of
        forms = '|'.join(re.escape(form) for form in sorted(self._canonical, key=len, reverse=True))
        before = '|'.join(re.escape(word) for word in self.modifiers)
        prefix = f'(?P<before>(?:(?:{before})\\s+)*)' if before else '(?P<before>)'
        self._pattern = re.compile(rf'(?<![\w-]){prefix}(?P<noun>{forms})(?![\w-])')

    def __call__(self, caption: str) -> list[str]:
        """See :class:`NounExtractor`; a plural gives its singular."""
        found = self._pattern.finditer(' '.join(caption.casefold().split()))
        return unique(f'{m["before"]}{self._canonical[m["noun"]]}' for m in found)

    def describe(self) -> dict[str, Any]:
        """See :class:`NounExtractor`."""
        words = sorted(set(self._canonical.values()))
        return {'type': 'WordListNouns', 'words': words, 'modifiers': list(self.modifiers)}


class NLTKNouns:
    """Nouns as NLTK's averaged perceptron tags them; neighbouring nouns are one (``fire hydrant``).

    Args:
        leave_out: Nouns that are not kept; default: words such as ``photo`` and ``background``.
        longest: Most words of a compound; longer ones keep their last words.

    Raises:
        ImportError: If NLTK is not installed.
        LookupError: If its tagger's model is not on this machine.
    """

    def __init__(self, leave_out: Sequence[str] = PICTURE_WORDS, longest: int = 3) -> None:
        self.leave_out, self.longest = frozenset(leave_out), longest
        self._tokenize, self._tag = _nltk_tools()

    def __call__(self, caption: str) -> list[str]:
        """See :class:`NounExtractor`."""
        nouns: list[str] = []
        compound: list[str] = []
        for word, tag in [*self._tag(self._tokenize(caption.lower())), ('', '')]:
            if tag.startswith('NN') and re.fullmatch(r"[a-z][a-z'-]*", word):
                compound.append(word)
                continue
            if compound:
                nouns.append(' '.join(compound[-self.longest :]))
            compound = []
        return unique(noun for noun in nouns if noun not in self.leave_out)

    def describe(self) -> dict[str, Any]:
        """See :class:`NounExtractor`."""
        import nltk

        return {
            'type': 'NLTKNouns',
            'nltk': nltk.__version__,
            'leave_out': sorted(self.leave_out),
            'longest': self.longest,
        }


def noun_extractor(spec: str, modifiers: Iterable[str] = ()) -> NounExtractor:
    """An extractor from a word.

    Args:
        spec: ``'nltk'``, or a vocabulary for :class:`WordListNouns`: a list of the suite (``'coco_stuff_aliases'``), a
            text file, or the words themselves (``'dog; cat'``).
        modifiers: See :class:`WordListNouns`.

    Raises:
        ValueError: If modifiers are given to NLTK.
    """
    if spec != 'nltk':
        return WordListNouns(Vocabulary.typed(spec), modifiers)
    if tuple(modifiers):
        raise ValueError("modifiers are for word lists; NLTK's compounds are made of nouns")
    return NLTKNouns()


def caption_nouns(captions: str | Iterable[str], extractor: NounExtractor) -> list[str]:
    """Nouns of one or several captions of a picture, each once, in the order of their first appearance."""
    captions = [captions] if isinstance(captions, str) else captions
    return unique(noun for caption in captions for noun in extractor(caption))


def unique(words: Iterable[str]) -> list[str]:
    """Words without repetitions, in the order of their first appearance."""
    return list(dict.fromkeys(words))


def plurals(name: str) -> list[str]:
    """Spellings that the plural of an English noun may have: ``leaf`` gives ``leafs``, ``leafes`` and ``leaves``."""
    regular = [f'{name}s', f'{name}es']
    return regular + [name[: -len(old)] + new for old, new in _IRREGULAR_ENDINGS if name.endswith(old)]


def _nltk_tools() -> tuple[Callable[[str], list[str]], Callable[[list[str]], list[tuple[str, str]]]]:
    """Tokenizer (needs no model) and tagger, or an error that says what to install."""
    try:
        import nltk
    except ImportError as error:
        raise ImportError(
            "nouns by NLTK need the package nltk (pip install 'denseclip-suite[mining]'); without it, use a word list, "
            "for example the suite's 'coco_stuff_aliases' or a text file of your own with one noun a line."
        ) from error
    try:
        nltk.data.find(f'taggers/{TAGGER}/')
    except LookupError as error:
        raise LookupError(
            f"NLTK's tagger has no model here: run 'python -m nltk.downloader {TAGGER}' once (1.5 MB), or unpack "
            f"'{TAGGER}.zip' of nltk_data into a folder 'taggers' below a path of the variable NLTK_DATA; or use a "
            'word list.'
        ) from error
    return nltk.tokenize.NLTKWordTokenizer().tokenize, nltk.pos_tag
