"""One class of a vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .class_lists import VocabularyError
from .descriptions import described


def clean(name: str) -> str:
    """A name without blanks around it or twice in a row."""
    return ' '.join(str(name).split())


def plain_name(name: str) -> str:
    """What two ways to write a name have in common."""
    return clean(name.replace('_', ' ')).casefold()


@dataclass(frozen=True)
class ClassEntry:
    """One class: its name and further names that mean the same.

    Attributes:
        name: What is shown to people; also the first prompt.
        synonyms: Further prompts of the class, each once; upper and lower case are the same word.
        descriptors: What it looks like ("four legs"); sentences of the first name and these then stand for the class.
    """

    name: str
    synonyms: tuple[str, ...] = ()
    descriptors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, 'name', clean(self.name))
        names = {name.casefold(): name for name in reversed((self.name, *map(clean, self.synonyms)))}
        del names[self.name.casefold()]
        object.__setattr__(self, 'synonyms', tuple(reversed(names.values())))
        object.__setattr__(self, 'descriptors', tuple(dict.fromkeys(filter(None, map(clean, self.descriptors)))))

    @property
    def names(self) -> tuple[str, ...]:
        """Name and synonyms."""
        return (self.name, *self.synonyms)

    @property
    def prompts(self) -> tuple[str, ...]:
        """What stands for the class: its names, or a sentence for each descriptor."""
        return tuple(described(self.name, self.descriptors)) if self.descriptors else self.names


def entry_of(item: Any) -> ClassEntry:
    """A class from an entry, a name, a mapping with ``name`` and ``synonyms``, or a pair of these.

    Raises:
        VocabularyError: If it is none.
    """
    if isinstance(item, ClassEntry):
        return item
    if isinstance(item, str):
        return ClassEntry(item)
    if isinstance(item, Mapping):
        return ClassEntry(item['name'], tuple(item.get('synonyms', ())))
    if isinstance(item, Sequence) and len(item) == 2:
        name, synonyms = item
        return ClassEntry(name, (synonyms,) if isinstance(synonyms, str) else tuple(synonyms or ()))
    raise VocabularyError(f"'{item!r}' is no class name; give a string or a (name, synonyms) pair.")
