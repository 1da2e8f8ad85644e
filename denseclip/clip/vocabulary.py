"""A vocabulary: the words a model is asked to tell apart.

The grammar on the command line and in files is the same: classes are separated by ``;`` or by lines, further names of
a class follow ``=`` and are separated by ``,``::

    road; car = automobile, vehicle; sky

What people write who do not know it is read, too, and how is said (:mod:`denseclip.clip.class_lists`).
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..files.names import shown
from .class_entry import ClassEntry, clean, entry_of, plain_name
from .class_lists import LIST_SUFFIXES, ClassList, VocabularyError, parse_text, read_list
from .differences import Difference

if TYPE_CHECKING:
    from torch import Tensor

BACKGROUND_POLICIES = ('none', 'prompts', 'threshold', 'learned', 'clipn', 'gda')
STRANGE = 0.99
"""Pixels stranger than this part of labelled ones are background, with ``background='gda'``."""
_DATA = Path(__file__).parent / 'vocabularies'


@dataclass(frozen=True)
class Vocabulary:
    """An ordered list of classes and what to do with pixels that belong to none of them.

    Attributes:
        classes: At least one class.
        background: ``'none'``: every pixel gets a class. ``'prompts'``: one more class, after all others, whose
            prompts are ``background_names``. ``'threshold'``: pixels whose best score is below ``threshold``.
            ``'learned'``: the model brings a background of its own. ``'clipn'``: pixels of which CLIPN's second text
            tower says that they are none of the classes. ``'gda'``: pixels that are stranger than ``threshold`` to a
            head of labelled pictures.
        background_names: Prompts of the background, for ``background='prompts'``.
        threshold: With ``background='threshold'`` the least probability of the best class; with ``'gda'`` the part of
            labelled pixels that are less strange, :data:`STRANGE` by default.
        shared_names: Whether further names may belong to several classes, as in some published lists. What classes are
            called (their first names) is never the same.
        differences: What tells pairs of classes apart, for models that classify regions; pairs of other classes are
            left out.
        ids: Of the classes in label maps, where their list gives them (``7: road``); of no meaning elsewhere.
    """

    classes: tuple[ClassEntry, ...]
    background: str = 'none'
    background_names: tuple[str, ...] = ()
    threshold: float | None = None
    shared_names: bool = False
    differences: tuple[Difference, ...] = ()
    ids: tuple[int, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, 'classes', tuple(entry_of(c) for c in self.classes))
        object.__setattr__(self, 'background_names', tuple(clean(n) for n in self.background_names))
        if not self.classes:
            raise VocabularyError("the vocabulary is empty: name at least one class, for example 'road; sky'.")
        self._check_names()
        self._check_background()
        if self.differences:
            known = {name.casefold() for entry in self.classes for name in entry.names}
            kept = tuple(d for d in self.differences if all(name.casefold() in known for name in d.classes))
            object.__setattr__(self, 'differences', kept)

    def _check_names(self) -> None:
        for position, entry in enumerate(self.classes):
            for name in (*entry.names, *entry.descriptors):
                _check_characters(name, position)
        for name in self.background_names:
            _check_characters(name, None)
        owner: dict[str, str] = {}
        for position, entry in enumerate(self.classes, start=1):
            for name in entry.names:
                if self.shared_names and name and name != entry.name:
                    continue
                if not name:
                    raise VocabularyError(
                        f'class {position} ({entry.name or "no name"}) has an empty name: remove it.', position - 1
                    )
                key = name.casefold()
                if key in owner:
                    twice = (
                        'is listed twice'
                        if name == entry.name == owner[key]
                        else f"names both '{owner[key]}' and '{entry.name}'"
                    )
                    raise VocabularyError(f"duplicate class name: '{name}' {twice}; keep one of them.", position - 1)
                owner[key] = entry.name

    def _check_background(self) -> None:
        if self.background not in BACKGROUND_POLICIES:
            raise VocabularyError(
                f"unknown background policy '{self.background}'; choose from {', '.join(BACKGROUND_POLICIES)}."
            )
        if (self.background == 'prompts') != bool(self.background_names) or '' in self.background_names:
            raise VocabularyError("background_names (none of them empty) and background='prompts' need each other.")
        if self.background == 'gda':
            object.__setattr__(self, 'threshold', STRANGE if self.threshold is None else self.threshold)
            if not 0 <= self.threshold <= 1:  # type: ignore[operator]
                raise VocabularyError(f"threshold={self.threshold:g} must be in 0..1 with background='gda'.")
        elif (self.background == 'threshold') != (self.threshold is not None):
            raise VocabularyError("threshold and background='threshold' (or 'gda') need each other.")

    @property
    def least_score(self) -> float | None:
        """Probability below which the best class gives way to the background; None: there is no such rule."""
        return self.threshold if self.background == 'threshold' else None

    @property
    def most_strange(self) -> float | None:
        """Part of labelled pixels than which the background is stranger; None: there is no such rule."""
        return self.threshold if self.background == 'gda' else None

    # --- making one ---------------------------------------------------------------------------------------------

    @classmethod
    def parse(cls, text: str, **background: Any) -> Vocabulary:
        """Read the grammar of the module docstring; ``background`` takes the fields of that name.

        Text without ``;`` and ``=`` that holds commas, entries with ids, and JSON are read, too; a warning says how.
        """
        return _warned(cls._made(parse_text(text), **background))

    @classmethod
    def from_file(cls, path: str | Path, **background: Any) -> Vocabulary:
        """Read a file: one class a line, same grammar, ``#`` starts a comment; or JSON, YAML or CSV.

        Lists whose lines hold ids, colours or names behind commas are read, too; a warning says how.

        Raises:
            FileNotFoundError: If there is no such file.
            VocabularyError: If it cannot be used; the message names the file and the line.
        """
        return _warned(cls._of_file(Path(path), **background))

    @classmethod
    def from_names(cls, names: Iterable[Any], **background: Any) -> Vocabulary:
        """Classes from names as they are (no grammar), from ``(name, synonyms)`` pairs or from entries."""
        return cls(tuple(entry_of(n) for n in names), **background)

    @classmethod
    def named(cls, name: str) -> Vocabulary:
        """A list that comes with the suite; see :func:`available`."""
        if name not in available():
            raise VocabularyError(f"no class list is called '{name}'; there are {', '.join(available())}.")
        return own_list(_DATA / f'{name}.txt')

    @classmethod
    def of(cls, what: VocabularyLike) -> Vocabulary:
        """Anything that can mean a vocabulary.

        Text is never taken for the path of a file, since it may come from data: name a file by a ``Path``, by
        :meth:`from_file`, or in a config by ``dict(from_file='words.txt')``.

        Args:
            what: A vocabulary; the name of a list of the suite; text in the grammar; a ``Path``; a list of names; a
                mapping of names to synonyms; or a mapping with the fields of this class.
        """
        if isinstance(what, Vocabulary):
            return what
        if isinstance(what, Path):
            return cls.from_file(what)
        if isinstance(what, str):
            if what in available():
                return cls.named(what)
            if _is_list_file(what):
                raise VocabularyError(
                    f"'{what}' looks like a file. If it is one, give Path('{what}') (in a config "
                    f"dict(from_file='{what}'), on the command line --classes-file); if it is a class, give "
                    f"['{what}']."
                )
            return cls.parse(what)
        if isinstance(what, Mapping):
            return cls._of_mapping(what)
        return cls.from_names(what)

    @classmethod
    def typed(cls, text: str) -> Vocabulary:
        """What somebody typed at an option of a tool: :func:`typed_vocabulary`, with warnings for its notes."""
        return _warned(typed_vocabulary(text))

    @classmethod
    def _of_mapping(cls, what: Mapping[str, Any]) -> Vocabulary:
        if 'differences' in what and {'classes', 'from_file'} & set(what):
            plain = {key: value for key, value in what.items() if key != 'differences'}
            pairs = (Difference(tuple(names), tuple(map(tuple, both))) for names, both in what['differences'])
            return cls._of_mapping(plain).with_differences(pairs)
        if 'descriptors' in what and {'classes', 'from_file'} & set(what):
            plain = {key: value for key, value in what.items() if key != 'descriptors'}
            return cls._of_mapping(plain).with_descriptions(what['descriptors'])
        rest = {k: v for k, v in what.items() if k in ('background', 'background_names', 'threshold', 'shared_names')}
        others = set(what) - set(rest)
        if others == {'classes'}:
            classes = what['classes']
            if rest.get('shared_names') and isinstance(classes, Mapping):  # as a list of its own it would be refused
                return cls.from_names(classes.items(), **rest)
            return cls(cls.of(classes).classes, **rest)
        if others == {'from_file'} and isinstance(what['from_file'], str | Path):
            return cls.from_file(what['from_file'], **rest)
        return cls.from_names(what.items())

    @classmethod
    def _of_file(cls, path: Path, plain: bool = False, **background: Any) -> tuple[Vocabulary, tuple[str, ...]]:
        ours = path.resolve().parent == _DATA.resolve()
        found = read_list(path, plain or ours)
        if ours and _share_names(found):
            background = {'shared_names': True, **background}
        try:
            return cls._made(found, **background)
        except VocabularyError as error:
            known = error.position is not None and error.position < len(found.lines)
            line = f', line {found.lines[error.position or 0]}' if known else ''
            raise VocabularyError(f'{path}{line}: {error}', error.position) from None

    @classmethod
    def _made(cls, found: ClassList, **background: Any) -> tuple[Vocabulary, tuple[str, ...]]:
        return cls(tuple(ClassEntry(*each) for each in found.groups), ids=found.ids, **background), found.notes

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
        """All prompts per class (names, or sentences of descriptors), the background's last when it has prompts."""
        groups = tuple(c.prompts for c in self.classes)
        return (*groups, self.background_names) if self.background_names else groups

    @property
    def name_groups(self) -> tuple[tuple[str, ...], ...]:
        """All names per class, the background's last when it has prompts."""
        groups = tuple(c.names for c in self.classes)
        return (*groups, self.background_names) if self.background_names else groups

    @property
    def sentences(self) -> frozenset[str]:
        """Those of the prompts that are sentences of descriptors and need no template."""
        return frozenset(text for c in self.classes if c.descriptors for text in c.prompts)

    def with_descriptions(self, descriptions: Mapping[str, Sequence[str]]) -> Vocabulary:
        """The same classes with what they look like; those that are not named keep their names alone.

        Args:
            descriptions: Descriptors by any of a class's names; ``_`` counts as a space.

        Raises:
            VocabularyError: If none of the names belongs to a class.
        """
        known = {plain_name(name): tuple(listed) for name, listed in descriptions.items()}
        classes = tuple(
            replace(
                c, descriptors=next((known[key] for key in map(plain_name, c.names) if key in known), c.descriptors)
            )
            for c in self.classes
        )
        if not any(plain_name(name) in known for c in self.classes for name in c.names):
            raise VocabularyError(
                f'the descriptions are of {", ".join(list(descriptions)[:6])}; none of these is among the classes '
                f'{", ".join(self.names[:6])}.'
            )
        return replace(self, classes=classes)

    def with_differences(self, differences: Iterable[Difference]) -> Vocabulary:
        """The same classes with what tells pairs of them apart; pairs of other classes are left out.

        Args:
            differences: Classes are called by any of their names.

        Raises:
            VocabularyError: If no pair is of these classes.
        """
        known = {plain_name(name): c.name for c in self.classes for name in c.names}
        given = list(differences)
        kept = []
        for each in given:
            first, second = (known.get(plain_name(name)) for name in each.classes)
            if first is not None and second is not None and first != second:
                kept.append(Difference((first, second), each.sentences))
        if not kept:
            raise VocabularyError(
                f'the pairs are of {", ".join(" | ".join(each.classes) for each in given[:4])}; in none of them are '
                f'both among the classes {", ".join(self.names[:6])}.'
            )
        return replace(self, differences=tuple(kept))

    @property
    def prompts(self) -> tuple[str, ...]:
        """All prompts of all classes, class by class, then those of the background."""
        return tuple(name for group in self.groups for name in group)

    @property
    def class_index(self) -> Tensor:
        """Class of each prompt, LongTensor (P,); the background's prompts have index ``len(self)``."""
        import torch  # here alone: words are read where there is no torch, too

        return torch.tensor([k for k, group in enumerate(self.groups) for _ in group], dtype=torch.long)

    def describe(self) -> str:
        """The vocabulary as it was understood, one class a line."""
        lines = [f'{len(self)} class{"es" * (len(self) != 1)}, background: {self.background}']
        for k, entry in enumerate(self.classes):
            lines.append(
                f'  {k:3d}  {shown(entry.name)}'
                + (f' = {", ".join(map(shown, entry.synonyms))}' if entry.synonyms else '')
                + (f': {" | ".join(map(shown, entry.descriptors))}' if entry.descriptors else '')
            )
        if self.background_names:
            lines.append(f'  {len(self):3d}  background = {", ".join(map(shown, self.background_names))}')
        if self.least_score is not None:
            lines.append(f'       background where the best score is below {self.least_score:g}')
        if self.differences:
            lines.append(f'       {len(self.differences)} pairs of classes are told apart by sentences')
        if self.most_strange is not None:
            lines.append(f'       background where pixels are stranger than {self.most_strange:.4g} of labelled ones')
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
        if self.shared_names:
            data['shared_names'] = True
        if self.sentences:
            data['descriptors'] = {c.name: list(c.descriptors) for c in self.classes if c.descriptors}
        if self.differences:
            data['differences'] = [[list(d.classes), [list(both) for both in d.sentences]] for d in self.differences]
        return data


VocabularyLike: TypeAlias = Vocabulary | str | Path | Iterable[Any] | Mapping[str, Any]
"""What :meth:`Vocabulary.of` understands: a vocabulary, the name of a list, text, a path, names, a mapping."""


@functools.cache
def available() -> tuple[str, ...]:
    """Names of the class lists that come with the suite."""
    return tuple(sorted(p.stem for p in _DATA.glob('*.txt')))


def own_list(path: Path) -> Vocabulary:
    """A list that comes with the suite, in the plain grammar: commas belong to names, as the sets write them."""
    return Vocabulary._of_file(path, plain=True)[0]


def typed_vocabulary(text: str) -> tuple[Vocabulary, tuple[str, ...]]:
    """What somebody typed at an option such as ``--classes``.

    The name of a list of the suite; the path of a file, if it has the ending of a list or holds a slash and exists;
    else text in the grammar.

    Args:
        text: The option's value.

    Returns:
        The vocabulary, and how the text was read where it could mean something else, as sentences.

    Raises:
        FileNotFoundError: If it is the path of a list that does not exist.
        VocabularyError: If it cannot be used.
    """
    if text in available():
        return Vocabulary.named(text), ()
    there = _exists(text)
    if (there and ('/' in text or Path(text).suffix.lower() in LIST_SUFFIXES)) or _is_list_file(text):
        vocabulary, notes = Vocabulary._of_file(Path(text))
        return vocabulary, (f"classes are read from the file '{text}'.", *notes)
    vocabulary, notes = Vocabulary._made(parse_text(text))
    if there:
        notes = (*notes, f"'{text}' is read as a word; there is a file of this name, too: ./{text} would read it.")
    elif '/' in text and len(vocabulary) == 1 and vocabulary.names == (text,):
        notes = (*notes, f"'{text}' is read as a word; there is no file of this name.")
    return vocabulary, notes


def text_vocabulary(text: str) -> tuple[Vocabulary, tuple[str, ...]]:
    """What somebody else typed, such as the users of a server: as :func:`typed_vocabulary`, but never a file.

    Args:
        text: The name of a list of the suite, or text in the grammar.

    Raises:
        VocabularyError: If it cannot be used.
    """
    return (Vocabulary.named(text), ()) if text in available() else Vocabulary._made(parse_text(text))


def file_vocabulary(path: str | Path) -> tuple[Vocabulary, tuple[str, ...]]:
    """:meth:`Vocabulary.from_file` for commands: how the list was read comes as sentences instead of warnings."""
    return Vocabulary._of_file(Path(path))


def _share_names(found: ClassList) -> bool:
    names = [{clean(name).casefold() for name in (first, *more)} for first, more in found.groups]
    return sum(map(len, names)) > len(set().union(*names))


def _is_list_file(text: str) -> bool:
    """Whether text is one word with the ending of a list."""
    return not any(mark in text for mark in ';=,\n[{') and Path(text).suffix.lower() in LIST_SUFFIXES


def _exists(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long or with characters that no path has
        return False


def _warned(read: tuple[Vocabulary, tuple[str, ...]]) -> Vocabulary:
    vocabulary, notes = read
    for note in notes:
        warnings.warn(f'vocabulary: {note}', stacklevel=3)
    return vocabulary


def _check_characters(name: str, position: int | None) -> None:
    """Refuse halves of characters, which JSON can hold and nothing can write."""
    try:
        name.encode()
    except UnicodeEncodeError:
        legible = name.encode(errors='backslashreplace').decode()
        raise VocabularyError(
            f"the class name '{legible}' holds half a character (a lone surrogate): write the whole character.",
            position,
        ) from None
