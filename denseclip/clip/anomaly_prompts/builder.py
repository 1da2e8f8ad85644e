"""Prompts of one object in its two states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .sets import STATES, PromptSet, PromptSetError, prompt_set, split_article


@dataclass(frozen=True)
class StatePrompts:
    """Sentences about one object.

    Attributes:
        name: What the object is called in the sentences.
        domain: Kind of pictures.
        normal: Sentences about an object without defect.
        abnormal: Sentences about an object with a defect.
        unit_length_before_mean: See :class:`~denseclip.clip.anomaly_prompts.PromptSet`.
    """

    name: str
    domain: str
    normal: tuple[str, ...]
    abnormal: tuple[str, ...]
    unit_length_before_mean: bool = False


def state_prompts(
    name: str,
    prompts: PromptSet | str | Path | Mapping[str, Any] = 'anovl',
    domain: str | None = None,
    defects: str | Sequence[str] | None = None,
) -> StatePrompts:
    """All sentences about an object in a normal and in an abnormal state.

    Args:
        name: The object in words. It is text, never a format string: braces in it stay as they are.
        prompts: Anything that :func:`prompt_set` takes.
        domain: A domain of the set, or phrases with their article (``'a satellite image; an aerial photo'``); None:
            the object's by its name.
        defects: Own defect words besides the set's states, ``'scratch; dent'`` or a list. Each adds the set's
            ``defect_states`` (``'{} with scratch'`` against ``'{} without scratch'``). A word with a place for the
            object (``'cracked {}'``) is one more abnormal state as it stands.

    Raises:
        PromptSetError: If the domain is unknown (the choices are named), or a name or word is empty.
    """
    parts = prompt_set(prompts)
    name = ' '.join(str(name).split())
    if not name:
        raise PromptSetError("the object's name is empty: say what the pictures show, for example 'metal nut'.")
    where = parts.domain_of(name) if domain is None else domain
    called = parts.aliases.get(name, name)
    if parts.underscores_as_spaces:
        called = called.replace('_', ' ')
    states = {kind: list(parts.states[kind]) for kind in STATES}
    for word in defect_words(defects):
        if '{}' in word:
            states['abnormal'].append(word)
            continue
        for kind in STATES:
            states[kind] += [phrase.replace('{defect}', word) for phrase in parts.defect_states.get(kind, [])]
    frames = _frames(parts, where)
    sentences = {
        kind: tuple(f.replace('{}', s.replace('{}', called)) for f in frames for s in phrases)
        for kind, phrases in states.items()
    }
    return StatePrompts(called, where, sentences['normal'], sentences['abnormal'], parts.unit_length_before_mean)


def _frames(parts: PromptSet, domain: str) -> list[str]:
    """Frames with a domain's phrases in them, the phrases outside."""
    pairs = [split_article(phrase) for phrase in parts.phrases(domain)]
    return [f.replace('{article}', article).replace('{domain}', noun) for article, noun in pairs for f in parts.frames]


def defect_words(defects: str | Sequence[str] | None) -> list[str]:
    """Defect words, trimmed and without repetitions."""
    if defects is None:
        return []
    if isinstance(defects, str):
        words = defects.split(',' if ',' in defects and not {';', '{'} & set(defects) else ';')
    else:
        words = list(defects)
    while isinstance(defects, str) and words and not words[-1].strip():  # a trailing separator is no empty word
        words.pop()
    words = [' '.join(str(word).split()) for word in words]
    for word in words:
        if not word or word.count('{}') > 1:
            raise PromptSetError(
                f"'{word}' is no defect word: give words such as 'scratch; dent', at most one '{{}}' in each."
            )
    return list(dict.fromkeys(words))
