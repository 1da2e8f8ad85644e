"""What there is in miniworld: things with a shape and a texture, grounds, skies, colours, and the words for them."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass


@dataclass(frozen=True)
class Thing:
    """A kind of object.

    Attributes:
        name: Its noun, the name of its class.
        plural: Of the noun.
        texture: Pattern on its surface, a name of :mod:`denseclip.datasets.miniworld.textures`; it makes the kind
            known from any part of the object.
        light: Whether the pattern is lighter than the object's colour; else darker.
        synonyms: Other nouns that captions use for it.
    """

    name: str
    plural: str
    texture: str
    light: bool
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stuff:
    """A kind of ground or sky.

    Attributes:
        name: Its word, the name of its class.
        texture: Its pattern.
        low: RGB where the pattern is darkest.
        high: RGB where it is brightest.
        sky: Whether it fills the upper part of pictures.
        synonyms: Other words that captions use for it.
    """

    name: str
    texture: str
    low: tuple[int, int, int]
    high: tuple[int, int, int]
    sky: bool = False
    synonyms: tuple[str, ...] = ()


COLOURS: dict[str, tuple[int, int, int]] = {
    'red': (205, 40, 40),
    'orange': (235, 135, 30),
    'yellow': (235, 215, 50),
    'green': (50, 150, 60),
    'blue': (45, 85, 205),
    'purple': (125, 50, 165),
    'pink': (240, 140, 185),
    'brown': (120, 75, 40),
    'white': (220, 220, 220),
    'black': (50, 50, 50),
}
"""Colour words of objects and their RGB."""

THINGS: tuple[Thing, ...] = (
    Thing('ball', 'balls', 'stripes', True),
    Thing('box', 'boxes', 'grid', False, ('crate',)),
    Thing('star', 'stars', 'plain', True),
    Thing('ring', 'rings', 'zigzag', False, ('hoop',)),
    Thing('heart', 'hearts', 'dots', True),
    Thing('leaf', 'leaves', 'stripes', False),
    Thing('fish', 'fishes', 'scales', False),
    Thing('mug', 'mugs', 'checks', True, ('cup',)),
    Thing('key', 'keys', 'plain', False),
    Thing('arrow', 'arrows', 'zigzag', True),
    Thing('crown', 'crowns', 'diamonds', True),
    Thing('boat', 'boats', 'grain', False, ('ship',)),
    Thing('tree', 'trees', 'blotches', False),
    Thing('house', 'houses', 'bricks', True, ('cottage',)),
    Thing('kite', 'kites', 'checks', False),
    Thing('mushroom', 'mushrooms', 'dots', False),
    Thing('flower', 'flowers', 'waves', True, ('blossom',)),
    Thing('bottle', 'bottles', 'waves', False, ('flask',)),
    Thing('bell', 'bells', 'diamonds', False),
    Thing('hat', 'hats', 'weave', True, ('cap',)),
)
STUFF: tuple[Stuff, ...] = (
    Stuff('grass', 'tufts', (40, 95, 30), (125, 180, 75), synonyms=('lawn',)),
    Stuff('sand', 'speckle', (195, 165, 105), (240, 215, 165)),
    Stuff('water', 'ripples', (25, 75, 120), (90, 160, 190), synonyms=('sea',)),
    Stuff('snow', 'blotches', (205, 215, 230), (252, 252, 255)),
    Stuff('paving', 'bricks', (150, 70, 55), (205, 190, 175), synonyms=('bricks',)),
    Stuff('planks', 'grain', (115, 70, 35), (190, 140, 85), synonyms=('wood',)),
    Stuff('gravel', 'pebbles', (70, 70, 75), (185, 180, 175), synonyms=('pebbles',)),
    Stuff('carpet', 'weave', (95, 25, 70), (175, 85, 130), synonyms=('rug',)),
    Stuff('sky', 'plain', (95, 165, 235), (150, 205, 250), True, ('clear sky',)),
    Stuff('clouds', 'blotches', (140, 150, 170), (235, 238, 245), True),
    Stuff('night', 'stars', (12, 14, 45), (235, 235, 200), True, ('night sky',)),
    Stuff('sunset', 'bands', (235, 120, 50), (250, 190, 120), True, ('dusk',)),
)
KINDS: tuple[Thing | Stuff, ...] = (*THINGS, *STUFF)
"""All classes; a label is an index into it, things first."""
CLASSES: tuple[str, ...] = tuple(kind.name for kind in KINDS)
"""Their names."""
NUM_THINGS = len(THINGS)
GROUNDS: tuple[int, ...] = tuple(NUM_THINGS + i for i, kind in enumerate(STUFF) if not kind.sky)
"""Labels of the grounds."""
SKIES: tuple[int, ...] = tuple(NUM_THINGS + i for i, kind in enumerate(STUFF) if kind.sky)
"""Labels of the skies."""
UNSEEN: tuple[str, ...] = ('fish', 'crown', 'kite', 'mushroom', 'bell', 'carpet', 'sunset')
"""Classes that pixel-labelled training may leave out (``kinds='seen'``), so that a test can ask for them."""


def synonyms() -> dict[str, list[str]]:
    """All classes with their further names, as :meth:`denseclip.clip.Vocabulary.of` takes them."""
    return {kind.name: list(kind.synonyms) for kind in KINDS}


def palette() -> list[list[int]]:
    """A colour for each class: hues a golden section apart."""
    hues = [(i * 0.6180339887) % 1.0 for i in range(len(CLASSES))]
    return [[round(255 * c) for c in colorsys.hsv_to_rgb(h, 0.75, 0.6 + 0.4 * (i % 2))] for i, h in enumerate(hues)]


def is_held_out(thing: int, colour: int) -> bool:
    """Whether a noun and a colour word never stand together in training captions, nor in the pictures drawn for them.

    Each thing is held out in two of the ten colours, and each colour for four of the twenty things.

    Args:
        thing: Label of the thing.
        colour: Index into :data:`COLOURS`.
    """
    return (3 * thing - colour) % (len(COLOURS) // 2) == 0


def metainfo(names: tuple[str, ...] = CLASSES) -> dict[str, object]:
    """``metainfo`` of a data set of these classes, for mmseg and mmdet (with its thing and stuff lists)."""
    colours = dict(zip(CLASSES, palette(), strict=True))
    return {
        'classes': tuple(names),
        'palette': [colours[name] for name in names],
        'thing_classes': tuple(name for name in names if name in CLASSES[:NUM_THINGS]),
        'stuff_classes': tuple(name for name in names if name in CLASSES[NUM_THINGS:]),
    }
