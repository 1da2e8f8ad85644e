"""What classes look like, in words: sentences from descriptors, and sentences that tell two classes apart."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .class_lists import VocabularyError

FALLBACK = 'a photo of a {}.'
"""What stands for a class in a pair that nothing tells apart."""
_IS = re.compile(r'(an?|the|used|made|part)\b')
_VERB = re.compile(r'(has|have|is|are|often|usually|typically|may|can)\b')


def descriptor_clause(descriptor: str, as_released: bool = False) -> str:
    """A descriptor as a clause: "four legs" is "which has four legs", "a long tail" is "which is a long tail".

    Source: "Visual Classification via Description from Large Language Models" (Menon and Vondrick, ICLR 2023).

    Args:
        descriptor: What the class has, is or does.
        as_released: As in the authors' code, to which every word that begins with an "a" is an article ("which is
            animal with stripes").
    """
    if as_released:
        if descriptor.startswith('a'):
            return f'which is {descriptor}'
        if descriptor.startswith(('has', 'often', 'typically', 'may', 'can')):
            return f'which {descriptor}'
        return f'which {"is" if descriptor.startswith("used") else "has"} {descriptor}'
    if _VERB.match(descriptor):
        return f'which {descriptor}'
    return f'which {"is" if _IS.match(descriptor) else "has"} {descriptor}'


def described(
    name: str,
    descriptors: Sequence[str],
    *,
    before: str = '',
    between: str = ', ',
    after: str = '',
    order: str = 'prepend',
    clauses: bool = True,
    as_released: bool = False,
) -> list[str]:
    """One sentence per descriptor, such as "cat, which has four legs".

    Args:
        name: The class; ``_`` stands for a space.
        descriptors: What it looks like. Without any the name itself is the one sentence; the authors' code makes
            "cat, which has " of it.
        before: Stands before the name.
        between: Stands between the name and the clause.
        after: Stands at the end.
        order: ``'prepend'``: the name first; ``'append'``: the clause first (nothing before and after, as theirs);
            ``'none'``: no name.
        clauses: Make clauses of the descriptors; else they stand as they are.
        as_released: See :func:`descriptor_clause`.

    Raises:
        ValueError: If ``order`` is none of these.
    """
    if order not in ('prepend', 'append', 'none'):
        raise ValueError(f"order='{order}' is unknown; choose prepend, append or none.")
    word = name.replace('_', ' ')
    if not descriptors and not as_released:
        return [f'{before}{word}{after}']
    parts = [descriptor_clause(d, as_released) if clauses else d for d in descriptors or ('',)]
    if order == 'append':
        return [f'{part}{between}{word}' for part in parts]
    return parts if order == 'none' else [f'{before}{word}{between}{part}{after}' for part in parts]


def read_descriptions(path: str | Path) -> dict[str, tuple[str, ...]]:
    """A file of descriptors: JSON, the name of each class to a list of what it looks like.

    Returns:
        Descriptors by name, spaces tidied, each once.

    Raises:
        FileNotFoundError: If there is no such file.
        VocabularyError: If it is something else; the message names the file and the class.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding='utf-8-sig'))
    except FileNotFoundError:
        raise FileNotFoundError(f"the descriptions '{path}' do not exist.") from None
    except (ValueError, OSError) as error:
        raise VocabularyError(f"'{path}' cannot be read as JSON ({error}).") from error
    if not isinstance(content, dict) or not content:
        raise VocabularyError(f'\'{path}\' must hold names with lists of what they look like, {{"cat": ["whiskers"]}}.')
    found = {}
    for name, listed in content.items():
        if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
            raise VocabularyError(f"'{path}': '{name}' must have a list of texts.")
        tidy = (' '.join(text.split()) for text in listed)
        found[' '.join(name.replace('_', ' ').split())] = tuple(dict.fromkeys(text for text in tidy if text))
    return found


def differential_sentences(
    classes: Sequence[int],
    names: Sequence[str],
    pairs: Mapping[str, Any],
    template: str = FALLBACK,
    listed_only: bool = False,
) -> list[list[str]]:
    """Sentences that tell some classes from each other.

    Source: "Follow-Up Differential Descriptions" (Esfandiarpoor and Bach, ICLR 2024), whose files are
    read as they are.

    Args:
        classes: The classes to tell apart, numbers of ``names``.
        names: Of all classes.
        pairs: By ``"I_J"`` (I < J): ``classes``, and ``prompt_pairs``, a list of entries whose ``prompt_pair`` has a
            sentence for each of the two.
        template: Stands for both where a pair has no entry, and for classes without any sentence.
        listed_only: Pairs without an entry say nothing, as where all classes of a set are told apart at once.

    Returns:
        For each of ``classes`` its sentences in all pairs among them, each once.
    """
    found: dict[int, list[str]] = {k: [] for k in classes}
    for pair in itertools.combinations(classes, 2):
        entry = pairs.get(f'{min(pair)}_{max(pair)}')
        if entry is None:
            for k in () if listed_only else pair:
                found[k].append(template.format(names[k].replace('_', ' ')))
            continue
        for both in entry['prompt_pairs']:
            for k, sentence in zip(entry['classes'], both['prompt_pair'], strict=True):
                found[k].append(sentence)
    plain = [found[k] or [template.format(names[k].replace('_', ' '))] for k in classes]
    return [list(dict.fromkeys(sentences)) for sentences in plain]


def random_descriptors(
    like: Mapping[str, Sequence[str]], words: Iterable[str], seed: int
) -> dict[str, tuple[str, ...]]:
    """Descriptors of the same form that say nothing: as many for each class, of as many words, drawn at random.

    Source: the control of "Does VLM Classification Benefit from LLM Description Semantics?" (AAAI 2025).

    Args:
        like: Descriptors by class.
        words: Words to draw from.
        seed: Of the draw.
    """
    import random

    pool, draw = list(words), random.Random(seed)
    return {
        name: tuple(' '.join(draw.choice(pool) for _ in text.split() or ' ') for text in texts)
        for name, texts in like.items()
    }
