"""(seed, split, index) -> sample: the one place where chance enters miniworld."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from .arrays import Bytes
from .grammar import captions, part_captions
from .kinds import COLOURS, GROUNDS, NUM_THINGS, SKIES
from .parts import DEFECTS, PARTS, PartPicture, draw_part
from .scenes import Scene, SceneSpec, draw_scene, turn_colours

VERSION = 1
"""Part of every seed; raised when the same seed gives other pictures."""
_STREAMS = {'scene': 0, 'part': 1, 'mixed': 2, 'setting': 3}
_RUN_COLOURS = 3  # colours of the things of one run of look-alikes


def generator(seed: int, split: str, index: int, stream: str = 'scene') -> np.random.Generator:
    """A source of chance of its own for every sample, the same in every process and on every machine.

    Args:
        seed: Of the whole world, not negative.
        split: Name of the split; other splits never repeat a picture.
        index: Of the sample, not negative.
        stream: ``'scene'``, ``'part'``, ``'mixed'`` or ``'setting'``.
    """
    return np.random.default_rng([VERSION, seed, _STREAMS[stream], *split.encode(), index])


def scene(seed: int, split: str, index: int, spec: SceneSpec) -> tuple[Scene, np.random.Generator]:
    """A scene and the generator that drew it, for captions to go on with."""
    rng = generator(seed, split, index)
    return draw_scene(rng, spec), rng


def part(seed: int, split: str, index: int, kind: int, defect: int | None, size: tuple[int, int]) -> PartPicture:
    """A picture of a part; see :func:`~.parts.draw_part`."""
    return draw_part(generator(seed, f'{split}/{PARTS[kind].name}/{defect}', index, 'part'), kind, defect, size)


@dataclass(frozen=True)
class Mix:
    """What pretraining sees: scenes, and parts with and without defects.

    Attributes:
        size: Height and width of all pictures.
        part_share: Share of parts.
        defect_share: Share of damaged ones among the parts.
        zoom: Magnification of scenes.
        held_out: Draw the held-out words instead of the others.
        alike: Length of runs of consecutive scenes that share ground, sky and a few colours. In a batch they are hard
            negatives: the noun tells them apart, while captions of scenes drawn one by one are told apart by grounds
            and colours alone, and nouns are hardly learned. 1 means no runs.
        crowding: Largest number of things in a square picture; 1 still draws two in half of them. Many things also tell
            captions apart by their number.
        turned: Share of scenes whose colours are turned at random; their captions name things only, without colours.
            Else a thing's colour tells which nouns it can be, and that fails for the colours that are held out. With
            ``alike``, the share of runs.
    """

    size: tuple[int, int] = (64, 64)
    part_share: float = 0.2
    defect_share: float = 0.6
    zoom: tuple[float, float] = (0.8, 2.6)
    held_out: bool = False
    alike: int = 1
    crowding: int = 4
    turned: float = 0.0
    spec: SceneSpec = field(init=False, repr=False)

    def __post_init__(self) -> None:
        size, zoom = (self.size[0], self.size[1]), (self.zoom[0], self.zoom[1])
        object.__setattr__(self, 'spec', SceneSpec(size, zoom, self.held_out, crowding=self.crowding))

    def sample(self, seed: int, split: str, index: int) -> tuple[Bytes, str, str]:
        """A picture (H, W, 3), RGB; a caption of it; and its group.

        The captions of one group are true of all its pictures, so that they are no negatives of each other: a scene is
        a group of its own (named by its caption), parts of one kind with one defect are another.
        """
        rng = generator(seed, split, index, 'mixed')
        if rng.random() >= self.part_share:
            spec, turned = self._setting(seed, split, index)
            drawn = draw_scene(rng, spec)
            caption = captions(rng, drawn, colours=not turned)[0]
            return turn_colours(rng, drawn.image) if turned else drawn.image, caption, caption
        defect = int(rng.integers(len(DEFECTS))) if rng.random() < self.defect_share else None
        picture = draw_part(rng, int(rng.integers(len(PARTS))), defect, self.size)
        group = f'{PARTS[picture.part].name} {"" if defect is None else DEFECTS[defect]}'
        return picture.image, part_captions(rng, picture)[0], group

    def _setting(self, seed: int, split: str, index: int) -> tuple[SceneSpec, bool]:
        """What scenes of the run of a sample look like, and whether their colours are turned."""
        rng = generator(seed, split, index // max(1, self.alike), 'setting')
        if self.alike <= 1:
            return self.spec, rng.random() < self.turned
        labels = (*range(NUM_THINGS), int(rng.choice(GROUNDS)), int(rng.choice(SKIES)))
        colours = tuple(int(c) for c in rng.permutation(len(COLOURS))[:_RUN_COLOURS])
        return replace(self.spec, labels=labels, colours=colours), rng.random() < self.turned
