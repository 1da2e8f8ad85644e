"""Prompt sets as data: reading them, checking them, changing parts of them."""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

_DATA = Path(__file__).parent
STATES = ('normal', 'abnormal')


class PromptSetError(ValueError):
    """A prompt set, a domain or a defect word that cannot be used as it is."""


@dataclass(frozen=True)
class PromptSet:
    """All that prompts of an object are made of.

    Attributes:
        domains: Kinds of pictures and their noun phrases, each with its article (``'an industrial photo'``).
        default_domain: Of objects that ``object_domains`` does not name.
        object_domains: Objects that belong to another domain by their name.
        aliases: What an object is called in prompts, where that differs from its name.
        frames: Sentences with one ``{}``; ``{article}`` and ``{domain}`` are those of a phrase.
        states: ``normal`` and ``abnormal`` phrases with one ``{}``.
        defect_states: Phrases with ``{}`` and ``{defect}`` that a user's defect word adds to each of the two.
        unit_length_before_mean: Whether every embedding is normalised before the mean over the prompts of a state.
        underscores_as_spaces: Whether ``metal_nut`` is written ``metal nut``.
        about: Where the set comes from.
    """

    domains: Mapping[str, list[str]]
    default_domain: str
    frames: list[str]
    states: Mapping[str, list[str]]
    defect_states: Mapping[str, list[str]]
    object_domains: Mapping[str, list[str]]
    aliases: Mapping[str, str]
    unit_length_before_mean: bool = False
    underscores_as_spaces: bool = False
    about: str = ''

    def __post_init__(self) -> None:
        for kind in STATES:
            if not self.states.get(kind):
                raise PromptSetError(f"the prompt set has no '{kind}' states; name at least one.")
        checks = [
            *(('frame', text, '{}') for text in self.frames),
            *(('state', text, '{}') for kind in STATES for text in self.states[kind]),
            *(
                ('defect state', t, p)
                for kind in STATES
                for t in self.defect_states.get(kind, [])
                for p in ('{}', '{defect}')
            ),
        ]
        for what, text, place in checks:
            if text.count(place) != 1:
                raise PromptSetError(f"{what} '{text}' of the prompt set needs exactly one '{place}'.")
        if not self.frames:
            raise PromptSetError('the prompt set has no frames; name at least one.')
        for phrase in (phrase for phrases in self.domains.values() for phrase in phrases):
            split_article(phrase)
        for name in (self.default_domain, *self.object_domains):
            self.phrases(name)

    def domain_of(self, name: str) -> str:
        """The domain that an object belongs to by its name."""
        owners = {obj.casefold(): domain for domain, objects in self.object_domains.items() for obj in objects}
        return owners.get(name.casefold(), self.default_domain)

    def phrases(self, domain: str) -> list[str]:
        """Noun phrases of a domain, or the phrases that ``domain`` itself is: ``'a satellite image; an aerial photo'``.

        Raises:
            PromptSetError: If it is neither, naming the choices.
        """
        if domain in self.domains:
            return list(self.domains[domain])
        phrases = [' '.join(part.split()) for part in domain.split(';') if part.strip()]
        if phrases and all(phrase.startswith(('a ', 'an ', 'the ')) for phrase in phrases):
            return phrases
        near = difflib.get_close_matches(domain, self.domains, n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else ''
        raise PromptSetError(
            f"unknown domain '{domain}'{hint}; choose from {', '.join(self.domains)}, or write phrases with their "
            "article, such as 'a satellite image; an aerial photo'."
        )


def split_article(phrase: str) -> tuple[str, str]:
    """``'an industrial photo'`` to ``('an', 'industrial photo')``."""
    article, space, noun = phrase.partition(' ')
    if article not in ('a', 'an', 'the') or not space:
        raise PromptSetError(f"domain phrase '{phrase}' needs its article, for example 'a {phrase}'.")
    return article, noun


@functools.cache
def available() -> tuple[str, ...]:
    """Names of the prompt sets that come with the suite."""
    return tuple(sorted(p.stem for p in _DATA.glob('*.json')))


def prompt_set(what: PromptSet | str | Path | Mapping[str, Any]) -> PromptSet:
    """A prompt set from anything that can mean one.

    Args:
        what: A set; the name of a set of the suite (:func:`available`); a JSON file; or a mapping of fields, which may
            name another set as its ``base`` and change parts of it: ``dict(base='anovl', underscores_as_spaces=True)``.

    Raises:
        PromptSetError: If a field is missing, unknown or wrong.
        FileNotFoundError: If there is no such set or file.
    """
    if isinstance(what, PromptSet):
        return what
    if isinstance(what, Mapping):
        return _from_mapping(dict(what))
    if str(what) in available():
        return _named(str(what))
    path = Path(what)
    if path.suffix != '.json' or not path.is_file():
        raise FileNotFoundError(
            f"no prompt set or JSON file is called '{what}'; sets of the suite: {', '.join(available())}."
        )
    return _read(path)


@functools.cache
def _named(name: str) -> PromptSet:
    return _read(_DATA / f'{name}.json')


def _read(path: Path) -> PromptSet:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        if not isinstance(content, dict):
            raise PromptSetError('it must be an object with the fields of a prompt set.')
        return _from_mapping(content)
    except (json.JSONDecodeError, PromptSetError) as error:
        raise PromptSetError(f'{path}: {error}') from error


def _from_mapping(content: dict[str, Any]) -> PromptSet:
    base = content.pop('base', None)
    known = [field.name for field in fields(PromptSet)]
    unknown = sorted(set(content) - set(known))
    if unknown:
        raise PromptSetError(f"unknown field '{unknown[0]}' of a prompt set; fields: base, {', '.join(known)}.")
    if base is not None:
        parent = prompt_set(base)
        content = {**{name: getattr(parent, name) for name in known}, **content}
    needed = [name for name in known[:5] if name not in content]
    if needed:
        raise PromptSetError(f"a prompt set needs {', '.join(needed)} (or base='anovl' to take them from there).")
    return PromptSet(**{'object_domains': {}, 'aliases': {}, **content})
