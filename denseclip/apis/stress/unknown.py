"""Classes that the model is not told of: does it notice their pixels?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from denseclip.apis.errors import UserError
from denseclip.apis.stress.loading import Subject
from denseclip.apis.stress.looking import look
from denseclip.apis.stress.pictures import VOID
from denseclip.clip.vocabulary import VocabularyError
from denseclip.evaluation.unknown import UnknownPixels, strangeness

FOLDS = 4
"""Parts into which the classes fall, where none are named; each part is left out once."""


def folds_of(names: Sequence[str], named: Sequence[str] | None, seed: int) -> list[tuple[int, ...]]:
    """Which classes are left out together.

    Args:
        names: All classes.
        named: Those to leave out, in one go; None: every class once, in :data:`FOLDS` parts of chance.
        seed: Of the parts.

    Raises:
        UserError: If a named class is none, or fewer than two are left.
    """
    if named is None:
        if len(names) < 3:
            raise UserError(f'of {len(names)} classes none can be left out: two must be left to tell apart.')
        order = np.random.default_rng([seed, 0]).permutation(len(names))
        parts = np.array_split(order, min(FOLDS, len(names)))
        return [tuple(sorted(int(k) for k in part)) for part in parts]
    places = {name.casefold(): k for k, name in enumerate(names)}
    if wrong := [name for name in named if name.casefold() not in places]:
        raise UserError(f'--hold-out: no class is called {", ".join(wrong)}; there are {", ".join(names[:40])}.')
    held = tuple(sorted({places[name.casefold()] for name in named}))
    if len(held) >= len(names) - 1:
        raise UserError('--hold-out leaves fewer than two classes to tell apart: name fewer.')
    return [held]


def unknown_classes(subject: Subject, held: Sequence[int], after: Callable[[], None] | None = None) -> dict[str, Any]:
    """Leave classes out of the words, and see how strange their pixels look.

    Args:
        subject: Model and pictures.
        held: The classes that are left out.
        after: Called after each picture.

    Returns:
        Names of the classes, AUROC by score (percent; None where the pictures hold only known or only unknown pixels).
    """
    vocabulary = subject.model.vocabulary
    kept = tuple(entry for k, entry in enumerate(vocabulary.classes) if k not in held)
    try:
        words = replace(vocabulary, classes=kept)
    except VocabularyError as error:
        raise UserError(f'without {", ".join(vocabulary.names[k] for k in held)}: {error}') from error
    seen = {'max': UnknownPixels(), 'entropy': UnknownPixels()}
    for one, result in look(subject.model, subject.pictures, len(kept), words, after):
        known = one.labels != VOID
        assert result.pixel_scores is not None
        strange = np.isin(one.labels[known], list(held))
        for name, scores in strangeness(result.pixel_scores[: len(kept), known]).items():
            seen[name].add(scores, strange)
        del result  # before the next pictures run
    found = {name: pixels.auroc() for name, pixels in seen.items()}
    names = [subject.pictures.names[k] for k in held]
    return {'classes': names, 'AUROC': {name: None if np.isnan(v) else 100 * v for name, v in found.items()}}
