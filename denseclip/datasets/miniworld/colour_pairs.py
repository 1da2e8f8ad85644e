"""Pictures of two things of different colours, whose colours words can swap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .arrays import Bytes
from .kinds import COLOURS, NUM_THINGS, THINGS, is_held_out
from .scenes import SceneSpec
from .world import generator, scene

MEANINGS = ('right', 'other colour', 'other noun', 'other thing')
"""What a phrase is to a thing: its own; its noun with the other's colour; the reverse; the other thing's own."""
_WORDS = tuple(COLOURS)
_LEAST = 0.02


@dataclass(frozen=True)
class ColourPair:
    """A picture of two things.

    Attributes:
        image: RGB, (H, W, 3).
        phrases: Four: each thing's own (``red mug``, ``blue fish``), then its noun with the other's colour.
        masks: Where each thing is, (2, H, W).
    """

    image: Bytes
    phrases: tuple[str, str, str, str]
    masks: npt.NDArray[np.bool_]

    def meaning(self, phrase: int, thing: int) -> str:
        """What a phrase (0 to 3) is to a thing (0 or 1), one of :data:`MEANINGS`."""
        own, straight = phrase % 2 == thing, phrase < 2
        if straight:
            return 'right' if own else 'other thing'
        return 'other colour' if own else 'other noun'


def colour_pair(seed: int, index: int, size: tuple[int, int] = (128, 128)) -> ColourPair:
    """A picture whose swapped phrases are as well known to captions as its own.

    Args:
        seed: Of the world.
        index: Of the picture.
        size: Height and width in pixels.
    """
    rng = generator(seed, 'colour pairs', index, 'setting')
    while True:
        labels = tuple(int(label) for label in rng.permutation(NUM_THINGS)[:2])
        allowed = [c for c in range(len(COLOURS)) if not any(is_held_out(label, c) for label in labels)]
        colours = tuple(int(c) for c in rng.permutation(allowed)[:2])
        grounds = tuple(range(NUM_THINGS, NUM_THINGS + 12))
        spec = SceneSpec(size=size, labels=(*labels, *grounds), colours=colours, crowding=2)
        drawn, _ = scene(seed, 'colour pairs', int(rng.integers(2**31)), spec)
        large = [(k, item) for k, item in enumerate(drawn.items) if item.area >= _LEAST * drawn.labels.size]
        if len(large) != 2 or len(drawn.items) != 2:
            continue
        (one, first), (other, second) = large
        if first.label == second.label or first.colour == second.colour:
            continue
        nouns = THINGS[first.label].name, THINGS[second.label].name
        worn = _WORDS[first.colour], _WORDS[second.colour]
        straight = [f'{colour} {noun}' for colour, noun in zip(worn, nouns, strict=True)]
        swapped = [f'{colour} {noun}' for colour, noun in zip(worn[::-1], nouns, strict=True)]
        masks = np.stack([drawn.instances == one + 1, drawn.instances == other + 1])
        return ColourPair(drawn.image, (straight[0], straight[1], swapped[0], swapped[1]), masks)
