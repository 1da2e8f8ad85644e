"""Words for a picture: some that it shows, some that it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from denseclip.clip.vocabulary import Vocabulary

KINDS = ('true', 'class', 'near', 'far')
"""Words that are there; classes of the set that are not; words of the same world; words of others."""
_HERE = Path(__file__).parent


def word_list(name: str) -> list[str]:
    """Words of a file beside this one; ``fit`` and ``test`` have none in common."""
    return (_HERE / f'{name}.txt').read_text(encoding='utf-8').split('\n')[:-1]


@dataclass(frozen=True)
class Words:
    """Words to draw from.

    Attributes:
        names: Names of each class; one is drawn.
        near: Words of the same world that no picture of the set shows.
        far: Words of other worlds.
    """

    names: Sequence[Sequence[str]]
    near: Sequence[str]
    far: Sequence[str]


def camvid_words(part: str) -> Words:
    """Names of CamVid's classes.

    ``fit``: those of the model's training, and others of this study. ``test``: the class's own name, and the synonym
    that neither the training nor the fit has seen, as often.
    """
    trained = [entry.names for entry in Vocabulary.named('camvid').classes]
    if part == 'fit':
        own = Vocabulary.from_file(_HERE / 'synonyms_fit.txt').classes
        names = [(*some, *more.names) for some, more in zip(trained, own, strict=True)]
    else:
        names = list(zip([some[0] for some in trained], Vocabulary.named('camvid_synonyms').names, strict=True))
    return Words(names, word_list(f'near_{part}'), word_list(f'far_{part}'))


def draw(
    rng: np.random.Generator, words: Words, shares: np.ndarray, there: int, absent: int
) -> tuple[list[str], list[str]]:
    """A vocabulary for a picture.

    Args:
        rng: Source of randomness.
        words: To draw from.
        shares: Part of the picture that each class covers, (K,).
        there: Number of words that the picture shows, fewer if it has not so many classes.
        absent: Number of words that it does not; up to three are classes of the set, one or two near ones, the rest
            far.

    Returns:
        Words in random order, and the kind of each (:data:`KINDS`).
    """
    shown, missing = rng.permutation(np.flatnonzero(shares > 0)), rng.permutation(np.flatnonzero(shares == 0))
    shown, missing = shown[:there], missing[: max(0, absent - 2)]
    near = min(absent - len(missing), int(rng.integers(1, 3)), len(words.near))
    far = absent - len(missing) - near
    found = [(str(rng.choice(words.names[k])), 'true') for k in shown]
    found += [(str(rng.choice(words.names[k])), 'class') for k in missing]
    found += [(str(word), 'near') for word in rng.choice(list(words.near), near, replace=False)] if near else []
    found += [(str(word), 'far') for word in rng.choice(list(words.far), far, replace=False)]
    order = rng.permutation(len(found))
    return [found[k][0] for k in order], [found[k][1] for k in order]
