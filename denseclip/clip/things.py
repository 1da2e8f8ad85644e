"""Which classes are countable things, and which are stuff, for panoptic and instance results."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from denseclip.clip.vocabulary import Vocabulary, VocabularyError, own_list

ThingsLike: TypeAlias = Sequence[str] | str
"""What :func:`thing_flags` understands."""

_WORDS = Path(__file__).parent / 'word_lists'
_THING_LISTS = ('ade20k', 'cityscapes')
_ALL_THINGS = ('coco',)
_OTHERWISE_CALLED = {
    'coco': {'orange fruit', 'tv remote'},
    'ade20k': {'palm tree', 'light bulb', 'plant pots', 'projection screen', 'exhaust hood', 'ceiling fan', 'cup'},
}
"""Things of a set by names of FC-CLIP's lists that are none of the set's own."""


@functools.cache
def things_of(name: str) -> tuple[str, ...]:
    """Names of the things of a data set.

    Args:
        name: ``ade20k`` (100 of 150), ``cityscapes`` (8 of 19) or ``coco`` (80, also of the 133 panoptic classes).

    Raises:
        VocabularyError: If there is no such list.
    """
    if name in _ALL_THINGS:
        return Vocabulary.named(name).names
    if name not in _THING_LISTS:
        raise VocabularyError(f"no list of things is called '{name}'; there are ade20k, cityscapes, coco.")
    return own_list(_WORDS / f'{name}_things.txt').names


@functools.cache
def stuff_words() -> frozenset[str]:
    """Words, in lower case, that mean stuff where nothing else is said: sky, grass, road, wall ..."""
    return frozenset(name.casefold() for name in own_list(_WORDS / 'stuff.txt').names)


def thing_flags(vocabulary: Vocabulary, things: ThingsLike | None = None) -> tuple[bool, ...]:
    """Whether each class of a vocabulary is a thing; a background with words of its own comes last and is none.

    Args:
        vocabulary: The classes.
        things: ``None`` or ``'auto'``: every class is, unless one of its names is one of :func:`stuff_words`.
            ``'all'``, ``'none'``; ``'ade20k'``, ``'cityscapes'`` or ``'coco'`` for the things of that set
            (:func:`things_of`); names separated by ``;``; or a sequence of names. A class is a thing if any of its
            names is listed; case does not count.

    Returns:
        One value per class.

    Raises:
        VocabularyError: If names are listed that no class has.
    """
    groups = [{name.casefold() for name in entry.names} for entry in vocabulary.classes]
    extra = (False,) if vocabulary.background_names else ()
    if things is None or things == 'auto':
        return (*(not group & stuff_words() for group in groups), *extra)
    if things in ('all', 'none'):
        return (*(things == 'all' for _ in groups), *extra)
    if isinstance(things, str) and things in (*_THING_LISTS, *_ALL_THINGS):
        known = {name.casefold() for name in things_of(things)} | _OTHERWISE_CALLED.get(things, set())
        return (*(bool(group & known) for group in groups), *extra)
    names = _names(things, set().union(*groups)) if isinstance(things, str) else things
    wanted = {' '.join(name.split()).casefold() for name in names}
    if strange := sorted(wanted - set().union(*groups)):
        raise VocabularyError(f'things {", ".join(strange[:10])}: no class is called so; take names of the vocabulary.')
    return (*(bool(group & wanted) for group in groups), *extra)


def _names(text: str, known: set[str]) -> list[str]:
    """Names separated by ``;``, or by commas where those do not belong to a name."""
    whole = ' '.join(text.split()).casefold()
    return text.split(',') if ',' in text and ';' not in text and whole not in known else text.split(';')
