"""What tells two classes apart, in words: sentences for pairs of classes that a model confuses."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .class_lists import VocabularyError

BETWEEN = '|'
"""Stands between the two names of a pair."""
_NUMBERS = re.compile(r'\d+_\d+')


@dataclass(frozen=True)
class Difference:
    """Two classes and what tells them apart.

    Attributes:
        classes: Their names.
        sentences: A sentence for each of the two, as often as there are differences.
    """

    classes: tuple[str, str]
    sentences: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        if self.classes[0].casefold() == self.classes[1].casefold() or not all(self.classes):
            raise VocabularyError(f"a pair needs two classes, not '{self.classes[0]}' and '{self.classes[1]}'.")
        if not self.sentences or not all(text.strip() for both in self.sentences for text in both):
            raise VocabularyError(f'{_title(self.classes)}: give a sentence for each of the two, at least once.')


def _title(classes: Sequence[str]) -> str:
    return f"'{classes[0]} {BETWEEN} {classes[1]}'"


def holds_pairs(content: Any) -> bool:
    """Whether what a JSON file holds is about pairs of classes, not about classes."""
    return isinstance(content, dict) and bool(content) and all(_NUMBERS.fullmatch(k) or BETWEEN in k for k in content)


def file_of_pairs(path: str | Path) -> bool:
    """Whether a file is about pairs of classes; files that cannot be read are not."""
    try:
        return holds_pairs(json.loads(Path(path).read_text(encoding='utf-8-sig')))
    except (ValueError, OSError):
        return False


def read_differences(path: str | Path, names: Sequence[str]) -> tuple[Difference, ...]:
    """A file of differences: JSON, ``{"mug | bottle": [["a mug with a handle", "a bottle with a neck"]]}``.

    Files of FuDD are read, too: ``{"0_3": {"classes": [0, 3], "prompt_pairs": [{"prompt_pair": [...]}]}}``, whose
    numbers are those of the classes in their order.

    Args:
        path: The file.
        names: Of the classes.

    Raises:
        FileNotFoundError: If there is no such file.
        VocabularyError: If it is something else; the message names the file and the pair.
    """
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8-sig'))
    except FileNotFoundError:
        raise FileNotFoundError(f"the descriptions '{path}' do not exist.") from None
    except (ValueError, OSError) as error:
        raise VocabularyError(f"'{path}' cannot be read as JSON ({error}).") from error
    if not holds_pairs(content):
        raise VocabularyError(
            f'\'{path}\' must hold pairs of classes, {{"mug | bottle": [["a mug with a handle", "a bottle with a '
            'neck"]]}.'
        )
    found = []
    for key, listed in content.items():
        try:
            found.append(_by_number(listed, names) if _NUMBERS.fullmatch(key) else _by_name(key, listed))
        except (VocabularyError, KeyError, TypeError, ValueError, IndexError) as error:
            reason = str(error) if isinstance(error, VocabularyError) else 'it must hold pairs of sentences.'
            raise VocabularyError(f"'{path}', '{key}': {reason}") from error
    return tuple(found)


def _by_name(key: str, listed: Any) -> Difference:
    names = [' '.join(part.replace('_', ' ').split()) for part in key.split(BETWEEN)]
    if len(names) != 2:
        raise VocabularyError(f'write the two names with one {BETWEEN} between them.')
    return Difference((names[0], names[1]), _texts(listed))


def _by_number(entry: Mapping[str, Any], names: Sequence[str]) -> Difference:
    first, second = entry['classes']
    if not all(isinstance(k, int) and 0 <= k < len(names) for k in (first, second)):
        raise VocabularyError(f'it is about the classes {first} and {second}, but there are {len(names)}.')
    return Difference((names[first], names[second]), _texts([both['prompt_pair'] for both in entry['prompt_pairs']]))


def _texts(listed: Any) -> tuple[tuple[str, str], ...]:
    found = []
    for both in listed:
        if isinstance(both, str) or len(both) != 2 or not all(isinstance(text, str) for text in both):
            raise VocabularyError('it must hold pairs of sentences.')
        found.append((' '.join(both[0].split()), ' '.join(both[1].split())))
    return tuple(dict.fromkeys(found))


def random_differences(like: Sequence[Difference], words: Iterable[str], seed: int) -> tuple[Difference, ...]:
    """Differences of the same form that say nothing: every word but those of the class is drawn at random.

    Source: the control of "Does VLM Classification Benefit from LLM Description Semantics?" (AAAI 2025).

    Args:
        like: Real ones.
        words: Words to draw from.
        seed: Of the draw.
    """
    pool, draw = list(words), random.Random(seed)

    def drawn(sentence: str, name: str) -> str:
        own = set(name.casefold().split())
        return ' '.join(w if w.casefold().strip('.,') in own else draw.choice(pool) for w in sentence.split())

    return tuple(
        Difference(
            each.classes,
            tuple((drawn(one, each.classes[0]), drawn(other, each.classes[1])) for one, other in each.sentences),
        )
        for each in like
    )


def exchanged(like: Sequence[Difference]) -> tuple[Difference, ...]:
    """Differences that say the opposite: what is said of one class, without its name, is said of the other."""

    def renamed(sentence: str, name: str, other: str) -> str:
        return re.sub(rf'\b{re.escape(name)}\b', lambda _: other, sentence, flags=re.IGNORECASE)

    made = []
    for each in like:
        first, second = each.classes
        texts = [(renamed(b, second, first), renamed(a, first, second)) for a, b in each.sentences]
        made.append(Difference(each.classes, tuple(texts)))
    return tuple(made)
