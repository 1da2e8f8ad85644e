"""Captions: what a scene or a part is, said in words from a grammar.

A caption names colours, sizes, nouns, ground and sky, leaves some of them out by chance, and takes synonyms by chance.
Nouns never stand with a colour that is held out for them (:func:`~.kinds.is_held_out`), unless the scene was drawn
that way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .kinds import CLASSES, COLOURS, GROUNDS, NUM_THINGS, STUFF, THINGS, is_held_out
from .parts import DEFECTS, PARTS, PartPicture
from .scenes import Item, Scene

_COLOUR_WORDS = tuple(COLOURS)
_FRAMES: tuple[str, ...] = (
    '',
    '',
    '',
    'a photo of ',
    'a photo of ',
    'a picture of ',
    'an image of ',
    'a bright photo of ',
)
_FRAMES += ('a dark photo of ', 'a good photo of ', 'a close-up photo of ', 'a rendering of ')
_PART_FRAMES: tuple[str, ...] = (
    'a photo of ',
    'an industrial photo of ',
    'an industrial image of ',
    'a manufacturing image of ',
    '',
)
_PART_FRAMES += ('a cropped photo of ', 'a close-up photo of ')
_PART_ENDS = ('', '', ' for visual inspection', ' for anomaly detection')
_GOOD: tuple[str, ...] = (
    'normal {}',
    'flawless {}',
    'perfect {}',
    'unblemished {}',
    '{} without flaw',
    '{} without defect',
)
_GOOD += ('{} without damage',)
_BAD = ('damaged {}', 'abnormal {}', 'imperfect {}', 'blemished {}', '{} with flaw', '{} with defect', '{} with damage')
_JOINTS = ('on', 'under', 'in front of', 'above', 'below', 'a scene with')
_COUNTS = ('zero', 'one', 'two', 'three', 'four', 'five')


def captions(rng: np.random.Generator, scene: Scene, count: int = 1, *, colours: bool = True) -> list[str]:
    """Captions of a scene, as different from each other as chance makes them.

    Args:
        rng: All chance.
        scene: The scene; things and stuff that cover less than 1 % of it are not mentioned.
        count: How many.
        colours: Name the colours of things, and ground and sky. Without, for pictures whose colours are changed
            (:func:`~.scenes.turn_colours`), only things are named, and stuff where there is no thing.
    """
    floor = 0.01 * scene.labels.size
    areas = np.bincount(scene.labels.ravel(), minlength=len(CLASSES))
    items = [item for item in scene.items if item.area >= floor]
    stuff = [label for label in scene.stuff if areas[label] >= floor] or scene.stuff
    return [_caption(rng, items, stuff, colours) for _ in range(count)]


def part_captions(rng: np.random.Generator, picture: PartPicture, count: int = 1) -> list[str]:
    """Captions of a part: its noun, that it is flawless or damaged, and in half of the latter by what."""
    return [_part_caption(rng, picture) for _ in range(count)]


def vocabulary_words() -> list[str]:
    """Every word that captions can hold, and those of the suite's prompt templates, sorted."""
    nouns = [word for kind in THINGS for word in (kind.name, kind.plural, *kind.synonyms)]
    stuff = [word for kind in STUFF for word in (kind.name, *kind.synonyms)]
    frames = [*_FRAMES, *_PART_FRAMES, *_PART_ENDS, *_GOOD, *_BAD, *_COUNTS, *_JOINTS]
    parts = [*(part.name for part in PARTS), *DEFECTS]
    other = ['a', 'an', 'the', 'and', 'with', 'small', 'large', 'things', 'background', 'something', 'else']
    other += ['this', 'is', 'there', 'in', 'scene', 'one', 'medium', 'textural', 'surface', 'picture']
    text = ' '.join([*nouns, *stuff, *frames, *parts, *other, *_COLOUR_WORDS])
    return sorted({word.strip('{},.') for word in text.replace('-', ' ').split()} - {''})


def held_out_pairs() -> list[tuple[str, str]]:
    """(colour, noun) pairs that training captions never hold, synonyms and plurals included."""
    return [
        (colour, noun)
        for label, kind in enumerate(THINGS)
        for noun in (kind.name, kind.plural, *kind.synonyms)
        for index, colour in enumerate(COLOURS)
        if is_held_out(label, index)
    ]


def _caption(rng: np.random.Generator, items: Sequence[Item], stuff: Sequence[int], colours: bool) -> str:
    shuffled = [items[i] for i in rng.permutation(len(items))]
    told = [item for item in shuffled if rng.random() < 0.93] or shuffled[:1]
    ground = [label for label in stuff if label in GROUNDS and rng.random() < 0.93]
    sky = [label for label in stuff if label not in GROUNDS and rng.random() < 0.93]
    what = _join(_noun_phrases(rng, told, colours))
    if what and not colours:
        return _FRAMES[rng.integers(len(_FRAMES))] + what
    below = _stuff_word(rng, ground[0]) if ground else ''
    above = _stuff_word(rng, sky[0]) if sky else ''
    if not what:
        scenery = [word for word in (below, above) if word] or [_stuff_word(rng, stuff[0])]
        return _FRAMES[rng.integers(len(_FRAMES))] + ' under '.join(scenery)
    if below and above:
        forms: tuple[str, ...] = (
            f'{what} on {below} under {above}',
            f'{what} with {above} above {below}',
            f'{below} and {above} with {what}',
        )
    elif below:
        forms = (f'{what} on {below}', f'{what} on {below}', f'{below} with {what}')
    elif above:
        forms = (f'{what} under {above}', f'{what} in front of {above}', f'{above} with {what}')
    else:
        forms = (what,)
    return _FRAMES[rng.integers(len(_FRAMES))] + forms[rng.integers(len(forms))]


def _noun_phrases(rng: np.random.Generator, items: Sequence[Item], colours: bool) -> list[str]:
    """``a large red mug``; things of one kind and colour are counted: ``two red mugs``."""
    groups: dict[tuple[int, int], list[Item]] = {}
    for item in items:
        groups.setdefault((item.label, item.colour if colours else 0), []).append(item)
    phrases = []
    for (label, colour), group in groups.items():
        kind = THINGS[label]
        words = [_COLOUR_WORDS[colour]] if colours and rng.random() < 0.8 else []
        if len(group) > 1:
            phrases.append(' '.join([_COUNTS[min(len(group), len(_COUNTS) - 1)], *words, kind.plural]))
            continue
        if group[0].size and rng.random() < 0.3:
            words.insert(0, group[0].size)
        noun = str(rng.choice(kind.synonyms)) if kind.synonyms and rng.random() < 0.25 else kind.name
        phrases.append(_with_article([*words, noun]))
    return phrases


def _stuff_word(rng: np.random.Generator, label: int) -> str:
    kind = STUFF[label - NUM_THINGS]
    return str(rng.choice(kind.synonyms)) if kind.synonyms and rng.random() < 0.2 else kind.name


def _with_article(words: Sequence[str]) -> str:
    return ' '.join(['an' if words[0][0] in 'aeiou' else 'a', *words])


def _join(phrases: Sequence[str]) -> str:
    return ' and '.join(part for part in (', '.join(phrases[:-1]), *phrases[-1:]) if part)


def _part_caption(rng: np.random.Generator, picture: PartPicture) -> str:
    noun = PARTS[picture.part].name
    if picture.defect is None:
        body = _GOOD[rng.integers(len(_GOOD))].format(noun)
    elif rng.random() < 0.5:
        body = _BAD[rng.integers(len(_BAD))].format(noun)
    else:
        body = f'{noun} with {_with_article([DEFECTS[picture.defect]])}'
    frame = _PART_FRAMES[rng.integers(len(_PART_FRAMES))]
    return frame + _with_article(body.split()) + _PART_ENDS[rng.integers(len(_PART_ENDS))]
