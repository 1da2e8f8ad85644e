"""Objects on their usual and on a foreign ground: how much of a class is what it stands on?"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np

from denseclip.apis.errors import UserError
from denseclip.apis.stress.loading import Subject
from denseclip.apis.stress.looking import look
from denseclip.apis.stress.pictures import VOID, Labelled, LabelledPictures
from denseclip.clip.things import thing_flags
from denseclip.clip.vocabulary import Vocabulary, VocabularyError
from denseclip.datasets.pasted_objects import CutOut, Pasted, best_place, cut_out, paste

KINDS = ('usual', 'foreign')
MOST_OBJECTS = 8
"""Objects of each class."""
_LEAST_GROUND = 0.6
"""Least share of the ground in the window that an object is put into."""
_MOST_DONORS = 12
"""Pictures that are looked at for a place."""


def objects_and_grounds(names: Sequence[str], objects: str | None) -> tuple[list[int], list[int]]:
    """Which classes are put on others.

    Args:
        names: All classes.
        objects: Names separated by ``;``; None: all that are not known as stuff.

    Raises:
        UserError: If a named class is none, or nothing is left to stand on.
    """
    try:
        flags = thing_flags(Vocabulary.from_names(names), objects)
    except VocabularyError as error:
        raise UserError(f'--objects: {error}') from error
    found = [k for k, flag in enumerate(flags) if flag]
    rest = [k for k, flag in enumerate(flags) if not flag]
    if not found or len(rest) < 2:
        raise UserError('--objects: backgrounds are swapped between at least two classes that are no objects.')
    return found, rest


@dataclass(frozen=True)
class Swap:
    """An object and the grounds it is put on.

    Attributes:
        picture: Number of the picture that it is from.
        thing: The object.
        grounds: A class for each of :data:`KINDS`.
    """

    picture: int
    thing: CutOut
    grounds: tuple[int, int]


def swaps_of(pictures: LabelledPictures, objects: Sequence[int], grounds: Sequence[int], seed: int) -> list[Swap]:
    """Objects of all classes, with the ground that their class has most often and one that it has least often.

    Args:
        pictures: The pictures.
        objects: Classes of objects.
        grounds: Classes of grounds.
        seed: Decides between grounds that are equally rare.
    """
    found: dict[int, list[tuple[int, CutOut]]] = {}
    seen = np.zeros((len(pictures.names), len(pictures.names)), np.int64)
    area = np.zeros(len(pictures.names))
    for number, one in enumerate(pictures):
        area += np.bincount(one.labels[one.labels >= 0], minlength=len(area)) / one.labels.size
        for label in objects:
            thing = cut_out(one.rgb, one.labels, label, grounds)
            if thing is not None:
                seen[label, thing.ground] += 1
                if len(found.setdefault(label, [])) < MOST_OBJECTS:
                    found[label].append((number, thing))
    chance = np.random.default_rng([seed, 2]).random(seen.shape)
    made = []
    for label, things in found.items():
        usual = int(seen[label].argmax())
        others = [ground for ground in grounds if ground not in (usual, label) and area[ground] > 0]
        if others:
            foreign = min(others, key=lambda ground: (seen[label, ground], chance[label, ground]))
            made += [Swap(number, thing, (usual, foreign)) for number, thing in things]
    return made


def pasted(pictures: LabelledPictures, swap: Swap, kind: int, seed: int) -> Pasted | None:
    """An object in another picture, on a place of the wanted ground; None where there is no place.

    The usual ground, too, is one of another picture: what pasting itself does to a model is the same for both.

    Args:
        pictures: The pictures.
        swap: Object and grounds.
        kind: Which of :data:`KINDS`.
        seed: Of the order in which pictures are tried.
    """
    order = np.random.default_rng([seed, 3, swap.picture, swap.thing.label]).permutation(len(pictures))
    size, ground = swap.thing.mask.shape, swap.grounds[kind]
    best: tuple[float, int, tuple[int, int]] = (0.0, -1, (0, 0))
    tried = 0
    for number in (int(k) for k in order if k != swap.picture):
        labels = pictures.labels(number)
        if tried >= _MOST_DONORS or best[0] > 0.95:
            break
        if not (labels == ground).any():
            continue
        tried += 1
        corner, share = best_place(labels, size, ground, swap.thing.label)
        best = max(best, (share, number, corner))
    if best[0] < _LEAST_GROUND:
        return None
    donor = pictures[best[1]]
    return paste(donor.rgb, donor.labels, swap.thing, best[2])


def swapped_grounds(
    subject: Subject, objects: str | None, seed: int, after: Callable[[], None] | None = None
) -> dict[str, Any]:
    """IoU of each class on its usual and on a foreign ground, in a window around the object.

    Args:
        subject: Model and pictures.
        objects: See :func:`objects_and_grounds`.
        seed: Of all chance.
        after: Called after each picture.

    Returns:
        ``classes``: by name both grounds, IoU and share of the object's pixels that are right on each (percent), and
        the number of objects; ``usual``, ``foreign`` and ``difference``: means of the IoUs over classes;
        ``standard_error`` of the difference (None for one class).

    Raises:
        UserError: If no object has a place on both grounds.
    """
    pictures = subject.pictures
    found, rest = objects_and_grounds(pictures.names, objects)
    waiting: deque[tuple[int, Pasted]] = deque()  # what is with the model; nothing else is kept
    tables: dict[int, np.ndarray] = {}
    grounds: dict[int, tuple[int, int]] = {}
    objects_of: Counter[int] = Counter()

    def composed() -> Iterator[Labelled]:
        for swap in swaps_of(pictures, found, rest, seed):
            both = [pasted(pictures, swap, kind, seed) for kind in range(2)]
            if None in both:  # both or none: the same objects are compared
                continue
            grounds[swap.thing.label] = swap.grounds
            objects_of[swap.thing.label] += 1
            for kind, each in enumerate(both):
                assert each is not None
                waiting.append((kind, each))
                yield Labelled(each.rgb, each.labels, '')

    for _, result in look(subject.model, composed(), len(pictures.names), after=after):
        kind, each = waiting.popleft()
        known = each.labels != VOID
        seen, true = (result.label_map == each.label) & known, each.labels == each.label
        del result  # before the next pictures run
        hit, either = (seen & true)[each.window].sum(), (seen | true)[each.window].sum()
        table = tables.setdefault(each.label, np.zeros((2, 4)))
        table[kind] += hit, either, (seen & each.mask).sum(), each.mask.sum()
    classes = {}
    for label, table in tables.items():
        named = [pictures.names[ground] for ground in grounds[label]]
        classes[pictures.names[label]] = {'objects': objects_of[label], **_row(table, named)}
    if not classes:
        raise UserError('no object of these pictures fits on its usual and on a foreign ground of another picture.')
    means = {kind: fmean(row[kind]['IoU'] for row in classes.values()) for kind in KINDS}
    apart = [row['usual']['IoU'] - row['foreign']['IoU'] for row in classes.values()]
    error = stdev(apart) / len(apart) ** 0.5 if len(apart) > 1 else None
    return {'classes': classes, **means, 'difference': fmean(apart), 'standard_error': error}


def _row(table: np.ndarray, grounds: Sequence[str]) -> dict[str, Any]:
    """Scores of a class on both grounds from its counts (2, 4): hits, union, right and all pixels of objects."""
    return {
        name: {'ground': ground, 'IoU': 100 * hit / max(either, 1), 'right': 100 * right / max(pixels, 1)}
        for name, ground, (hit, either, right, pixels) in zip(KINDS, grounds, table.tolist(), strict=True)
    }
