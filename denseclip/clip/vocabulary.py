"""A vocabulary: the words a model is asked to tell apart.

The grammar on the command line and in files is the same: classes are separated by ``;`` or by lines, further names of
a class follow ``=`` and are separated by ``,``::

    road; car = automobile, vehicle; sky
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

BACKGROUND_POLICIES = ('none', 'prompts', 'threshold', 'learned')
_DATA = Path(__file__).parent / 'vocabularies'


class VocabularyError(ValueError):
    """A list of class names that cannot be used as it is."""


def _clean(name: str) -> str:
    return ' '.join(str(name).split())


@dataclass(frozen=True)
class ClassEntry:
    """One class: its name and further names that mean the same.

    Attributes:
        name: What is shown to people; also the first prompt.
        synonyms: Further prompts of the class.
    """

    name: str
    synonyms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, 'name', _clean(self.name))
        object.__setattr__(self, 'synonyms', tuple(_clean(s) for s in self.synonyms))

    @property
    def names(self) -> tuple[str, ...]:
        """Name and synonyms."""
        return (self.name, *self.synonyms)


@dataclass(frozen=True)
class Vocabulary:
    """An ordered list of classes and what to do with pixels that belong to none of them.

    Attributes:
        classes: At least one class.
        background: ``'none'``: every pixel gets a class. ``'prompts'``: one more class, after all others, whose
            prompts are ``background_names``. ``'threshold'``: pixels whose best score is below ``threshold``.
            ``'learned'``: the model brings a background of its own.
        background_names: Prompts of the background, for ``background='prompts'``.
        threshold: Score, for ``background='threshold'``.
    """

    classes: tuple[ClassEntry, ...]
    background: str = 'none'
    background_names: tuple[str, ...] = ()
    threshold: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, 'classes', tuple(_entry(c) for c in self.classes))
        object.__setattr__(self, 'background_names', tuple(_clean(n) for n in self.background_names))
        if not self.classes:
            raise VocabularyError("the vocabulary is empty: name at least one class, for example 'road; sky'.")
        self._check_names()
        self._check_background()

    def _check_names(self) -> None:
        owner: dict[str, str] = {}
        for position, entry in enumerate(self.classes, start=1):
            for name in entry.names:
                if not name:
                    raise VocabularyError(f'class {position} ({entry.name or "no name"}) has an empty name: remove it.')
                key = name.casefold()
                if key in owner:
                    twice = (
                        'is listed twice'
                        if name == entry.name == owner[key]
                        else f"names both '{owner[key]}' and '{entry.name}'"
                    )
                    raise VocabularyError(f"duplicate class name: '{name}' {twice}; keep one of them.")
                owner[key] = entry.name

    def _check_background(self) -> None:
        if self.background not in BACKGROUND_POLICIES:
            raise VocabularyError(
                f"unknown background policy '{self.background}'; choose from {', '.join(BACKGROUND_POLICIES)}."
            )
        if (self.background == 'prompts') != bool(self.background_names) or '' in self.background_names:
            raise VocabularyError("background_names (none of them empty) and background='prompts' need each other.")
        if (self.background == 'threshold') != (self.threshold is not None):
            raise VocabularyError("threshold and background='threshold' need each other.")

    # --- making one ---------------------------------------------------------------------------------------------

    @classmethod
    def parse(cls, text: str, **background: Any) -> Vocabulary:
        """Read the grammar of the module docstring; ``background`` takes the fields of that name."""
        return cls(tuple(_parse_class(part) for part in _split(text)), **background)

    @classmethod
    def from_file(cls, path: str | Path, **background: Any) -> Vocabulary:
        """Read a text file: one class a line, same grammar; ``#`` starts a comment.

        Raises:
            FileNotFoundError: If there is no such file.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"class list '{path}' does not exist; write one class a line into it.")
        lines = (line.split('#', 1)[0] for line in path.read_text(encoding='utf-8-sig').splitlines())
        try:
            return cls.parse('\n'.join(line for line in lines if line.strip()), **background)
        except VocabularyError as error:
            raise VocabularyError(f'{path}: {error}') from None

    @classmethod
    def from_names(cls, names: Iterable[Any], **background: Any) -> Vocabulary:
        """Classes from names as they are (no grammar), from ``(name, synonyms)`` pairs or from entries."""
        return cls(tuple(_entry(n) for n in names), **background)

    @classmethod
    def named(cls, name: str) -> Vocabulary:
        """A list that comes with the suite; see :func:`available`."""
        if name not in available():
            raise VocabularyError(f"no class list is called '{name}'; there are {', '.join(available())}.")
        return cls.from_file(_DATA / f'{name}.txt')

    @classmethod
    def of(cls, what: Vocabulary | str | Path | Iterable[Any] | Mapping[str, Any]) -> Vocabulary:
        """Anything that can mean a vocabulary.

        Args:
            what: A vocabulary; the name of a list of the suite; the path of an existing file; text in the grammar; a
                list of names; a mapping of names to synonyms; or a mapping with the fields of this class.
        """
        if isinstance(what, Vocabulary):
            return what
        if isinstance(what, Path):
            return cls.from_file(what)
        if isinstance(what, str):
            if what in available():
                return cls.named(what)
            is_file = ';' not in what and '\n' not in what and what.endswith(('.txt', '.csv'))
            return cls.from_file(what) if is_file else cls.parse(what)
        if isinstance(what, Mapping):
            if 'classes' in what and set(what) <= {'classes', 'background', 'background_names', 'threshold'}:
                rest = {k: v for k, v in what.items() if k != 'classes'}
                return cls(cls.of(what['classes']).classes, **rest)
            return cls.from_names(what.items())
        return cls.from_names(what)

    # --- reading it ---------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Number of classes, the background not counted."""
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """One name per class."""
        return tuple(c.name for c in self.classes)

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """All names per class, the background's last when it has prompts."""
        groups = tuple(c.names for c in self.classes)
        return (*groups, self.background_names) if self.background_names else groups

    @property
    def prompts(self) -> tuple[str, ...]:
        """All names of all classes, class by class, then those of the background."""
        return tuple(name for group in self.groups for name in group)

    @property
    def class_index(self) -> Tensor:
        """Class of each prompt, LongTensor (P,); the background's prompts have index ``len(self)``."""
        return torch.tensor([k for k, group in enumerate(self.groups) for _ in group], dtype=torch.long)

    def describe(self) -> str:
        """The vocabulary as it was understood, one class a line."""
        lines = [f'{len(self)} classes, background: {self.background}']
        for k, entry in enumerate(self.classes):
            lines.append(f'  {k:3d}  {entry.name}' + (f' = {", ".join(entry.synonyms)}' if entry.synonyms else ''))
        if self.background_names:
            lines.append(f'  {len(self):3d}  background = {", ".join(self.background_names)}')
        if self.threshold is not None:
            lines.append(f'       background where the best score is below {self.threshold:g}')
        return '\n'.join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain data from which :meth:`of` makes an equal vocabulary (for configs and checkpoints)."""
        data: dict[str, Any] = {
            'classes': {c.name: list(c.synonyms) for c in self.classes},
            'background': self.background,
        }
        if self.background_names:
            data['background_names'] = list(self.background_names)
        if self.threshold is not None:
            data['threshold'] = self.threshold
        return data


@functools.cache
def available() -> tuple[str, ...]:
    """Names of the class lists that come with the suite."""
    return tuple(sorted(p.stem for p in _DATA.glob('*.txt')))


def _split(text: str) -> list[str]:
    parts = [part for line in text.splitlines() for part in line.split(';')]
    while parts and not parts[-1].strip():  # a trailing separator is no empty class
        parts.pop()
    return parts


def _parse_class(text: str) -> ClassEntry:
    name, equals, rest = text.partition('=')
    return ClassEntry(name, tuple(rest.split(',')) if equals else ())


def _entry(item: Any) -> ClassEntry:
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
