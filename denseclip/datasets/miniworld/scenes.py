"""Scenes of miniworld: a ground, a sky and things on them, drawn from chance alone."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from . import shapes, textures
from .arrays import Bytes
from .kinds import COLOURS, GROUNDS, NUM_THINGS, SKIES, STUFF, THINGS, is_held_out

MIN_VISIBLE = 0.4
"""Smallest visible share of a thing; what is more hidden is not drawn at all."""
_RGB = np.array(list(COLOURS.values()), dtype=np.float64)
_TRIES = 6
_MOST_THINGS = 200  # the map of instances has one byte a pixel


@dataclass(frozen=True)
class SceneSpec:
    """What scenes are asked for.

    Attributes:
        size: Height and width in pixels.
        zoom: Range of magnification; at 1 a thing's radius is 0.15 to 0.34 of the shorter side.
        held_out: Things wear the colours that training captions never name with them; else only the others.
        labels: Labels that may appear; None means all.
        colours: Colours that things wear where they may (see ``held_out``); None means all.
        crowding: Largest number of things in a square picture; wider pictures get more.
    """

    size: tuple[int, int] = (64, 64)
    zoom: tuple[float, float] = (0.85, 1.2)
    held_out: bool = False
    labels: tuple[int, ...] | None = None
    colours: tuple[int, ...] | None = None
    crowding: int = 4

    def allowed(self, labels: tuple[int, ...]) -> list[int]:
        """Those of ``labels`` that may appear."""
        return [label for label in labels if self.labels is None or label in self.labels]


@dataclass(frozen=True)
class Item:
    """A thing in a picture.

    Attributes:
        label: Its kind.
        colour: Index into :data:`~denseclip.datasets.miniworld.kinds.COLOURS`.
        size: ``'small'``, ``'large'`` or nothing.
        box: Left, top, width, height of what is visible.
        area: Visible pixels.
    """

    label: int
    colour: int
    size: str
    box: tuple[int, int, int, int]
    area: int


@dataclass(frozen=True)
class Scene:
    """A picture with everything that is known about it.

    Attributes:
        image: RGB, (H, W, 3).
        labels: Class of every pixel, (H, W).
        instances: 0 for stuff, ``k + 1`` for ``items[k]``, (H, W).
        items: Things, farthest first.
        stuff: Labels of ground and sky, largest first.
    """

    image: Bytes
    labels: Bytes
    instances: Bytes
    items: tuple[Item, ...]
    stuff: tuple[int, ...]


@dataclass
class _Plan:
    """A thing before it is painted: choice of chance, place, and its coverage inside a window."""

    label: int
    colour: int
    radius: float
    scale: float
    corner: tuple[int, int]
    cover: Bytes
    room: float
    centre: tuple[float, float]

    @property
    def window(self) -> tuple[slice, slice]:
        (left, top), (height, width) = self.corner, self.cover.shape
        return slice(top, top + height), slice(left, left + width)


def draw_scene(rng: np.random.Generator, spec: SceneSpec) -> Scene:
    """Draw a scene.

    Args:
        rng: All chance; the same state gives the same pixels.
        spec: What is asked for.

    Raises:
        ValueError: If ``spec.labels`` holds no ground and no sky.
    """
    unit = min(spec.size)
    zoom = float(np.exp(rng.uniform(*np.log(spec.zoom))))
    labels = _place_stuff(rng, spec)
    plans = _plan_things(rng, spec, unit * zoom)
    plans, instances = _drop_hidden(plans, spec.size)
    image = np.empty((*spec.size, 3), np.uint8)
    stuff = [int(label) for label in np.unique(labels)]
    scale = 64 / (unit * zoom)
    for label in stuff:
        _paint_stuff(rng, image, labels == label, label, scale)
    for plan in plans:
        _paint_thing(rng, image, plan)
    if plans:
        kinds = np.array([0, *(plan.label for plan in plans)], np.uint8)
        labels = np.where(instances > 0, kinds[instances], labels)
    image = expose(rng, image)
    sizes = np.bincount(labels.ravel(), minlength=NUM_THINGS + len(STUFF))
    stuff = sorted((label for label in stuff if sizes[label]), key=lambda label: -sizes[label])
    items = tuple(_item(plan, instances, k + 1, unit) for k, plan in enumerate(plans))
    return Scene(image, labels, instances, items, tuple(stuff))


def _place_stuff(rng: np.random.Generator, spec: SceneSpec) -> Bytes:
    """Labels of ground and sky, with a slanted, wavy horizon in most pictures."""
    height, width = spec.size
    grounds, skies = spec.allowed(GROUNDS), spec.allowed(SKIES)
    if not grounds and not skies:
        raise ValueError('the allowed labels hold no ground and no sky to fill a picture with; add one')
    kind = rng.random()
    if not skies or (grounds and kind < 0.15):
        return np.full(spec.size, rng.choice(grounds), np.uint8)
    if not grounds or kind < 0.2:
        return np.full(spec.size, rng.choice(skies), np.uint8)
    x = np.linspace(-1, 1, width)
    wave = rng.uniform(-0.04, 0.04) * np.sin(rng.uniform(2, 7) * x + rng.uniform(0, 6.3))
    horizon = height * (rng.uniform(0.25, 0.55) + rng.uniform(-0.06, 0.06) * x + wave)
    below = np.arange(height)[:, None] >= horizon[None]
    return np.where(below, rng.choice(grounds), rng.choice(skies)).astype(np.uint8)


def _plan_things(rng: np.random.Generator, spec: SceneSpec, unit: float) -> list[_Plan]:
    """Choose things and their places; neighbours may overlap a little."""
    things = spec.allowed(tuple(range(NUM_THINGS)))
    if not things:
        return []
    height, width = spec.size
    most = spec.crowding * max(height, width) / min(height, width)
    count = int(rng.integers(1, min(max(2, round(most)), _MOST_THINGS) + 1))
    plans: list[_Plan] = []
    for label in rng.choice(things, count):
        radius = unit * float(np.exp(rng.uniform(np.log(0.15), np.log(0.34))))
        centre = _free_centre(rng, plans, radius, spec.size)
        if centre is not None:
            plans.append(_plan_thing(rng, int(label), radius, centre, spec))
            plans[-1].scale = 64 / unit
    return plans


def _free_centre(
    rng: np.random.Generator, plans: list[_Plan], radius: float, size: tuple[int, int]
) -> tuple[float, float] | None:
    """A place whose distance to each earlier thing is at least 0.75 of both radii, or None after a few tries."""
    margin = 0.55 * radius
    span = np.array([size[1] - 2 * margin, size[0] - 2 * margin])
    tries = margin + rng.random((_TRIES, 2)) * span.clip(1)
    for x, y in tries:
        if all(np.hypot(x - p.centre[0], y - p.centre[1]) > 0.75 * (radius + p.radius) for p in plans):
            return float(x), float(y)
    return None


def _plan_thing(
    rng: np.random.Generator, label: int, radius: float, centre: tuple[float, float], spec: SceneSpec
) -> _Plan:
    colours = [c for c in range(len(COLOURS)) if is_held_out(label, c) == spec.held_out]
    if spec.colours is not None:
        colours = [c for c in colours if c in spec.colours] or colours
    reach = int(np.ceil(1.3 * radius)) + 1
    left, top = max(0, int(centre[0]) - reach), max(0, int(centre[1]) - reach)
    right, bottom = min(spec.size[1], int(centre[0]) + reach), min(spec.size[0], int(centre[1]) + reach)
    turn, squeeze = rng.normal(0, 0.22), float(np.exp(rng.uniform(-0.2, 0.2)))
    place = (centre[0] - left, centre[1] - top)
    cover = shapes.fill(THINGS[label].name, (bottom - top, right - left), place, radius, turn, squeeze)
    return _Plan(label, int(rng.choice(colours)), radius, 1.0, (left, top), cover, float((cover > 127).sum()), centre)


def _drop_hidden(plans: list[_Plan], size: tuple[int, int]) -> tuple[list[_Plan], Bytes]:
    """Leave out things of which later ones hide most; what remains, and the map of instances."""
    while True:
        instances = np.zeros(size, np.uint8)
        for k, plan in enumerate(plans):
            instances[plan.window][plan.cover > 127] = k + 1
        seen = np.bincount(instances.ravel(), minlength=len(plans) + 1)[1:]
        kept = [p for p, area in zip(plans, seen, strict=True) if area >= max(12, MIN_VISIBLE * p.room)]
        if len(kept) == len(plans):
            return plans, instances
        plans = kept


def _paint_stuff(rng: np.random.Generator, image: Bytes, where: np.ndarray, label: int, scale: float) -> None:
    kind = STUFF[label - NUM_THINGS]
    colours = np.array([kind.low, kind.high], np.float64) + rng.normal(0, 9, 3)
    rows = np.flatnonzero(where.any(axis=1))
    band = slice(rows[0], rows[-1] + 1)
    turn = 0.0 if kind.sky or kind.texture == 'ripples' else rng.uniform(-0.5, 0.5)
    size = (rows[-1] + 1 - rows[0], image.shape[1])
    drawn = textures.surface(rng, kind.texture, size, scale * rng.uniform(0.75, 1.3), turn, colours)
    np.copyto(image[band], drawn, where=where[band, :, None])


def _paint_thing(rng: np.random.Generator, image: Bytes, plan: _Plan) -> None:
    kind = THINGS[plan.label]
    base = _RGB[plan.colour] + rng.normal(0, 12, 3)
    accent = base * 0.35 + 255 * 0.65 if kind.light else base * 0.4
    surface = textures.surface(
        rng,
        kind.texture,
        plan.cover.shape[:2],
        plan.scale * rng.uniform(0.75, 1.3),
        rng.uniform(-0.4, 0.4),
        np.stack([base, accent]),
    )
    window = image[plan.window]
    share = plan.cover.astype(np.uint16)[..., None]
    window[:] = (surface * share + window * (255 - share)) // 255


def expose(rng: np.random.Generator, image: Bytes) -> Bytes:
    """Light, colour cast and sensor noise of the whole picture."""
    height, width = image.shape[:2]
    noise = textures.noise()
    if height > noise.shape[0] or width > noise.shape[1]:
        noise = np.tile(noise, (-(-height // noise.shape[0]), -(-width // noise.shape[1]), 1))
    y = int(rng.integers(0, noise.shape[0] - height + 1))
    x = int(rng.integers(0, noise.shape[1] - width + 1))
    gain = (rng.uniform(0.8, 1.15) * rng.uniform(0.94, 1.06, 3)).astype(np.float32)
    strength = np.float32(rng.uniform(1, 8))
    noisy = cv2.addWeighted(noise[y : y + height, x : x + width], float(strength), image * gain, 1.0, 0.0)
    return noisy.clip(0, 255).astype(np.uint8)


def turn_colours(rng: np.random.Generator, image: Bytes) -> Bytes:
    """Turn all hues by one random angle and change their strength; one picture in four becomes grey.

    Args:
        rng: All chance.
        image: RGB, (H, W, 3).
    """
    if rng.random() < 0.25:
        return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    hue, saturation, value = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV))
    hue = ((hue.astype(np.int64) + rng.integers(180)) % 180).astype(np.uint8)
    saturation = cv2.convertScaleAbs(saturation, alpha=float(rng.uniform(0.4, 1.2)))
    return np.asarray(cv2.cvtColor(cv2.merge([hue, saturation, value]), cv2.COLOR_HSV2RGB), np.uint8)


def _item(plan: _Plan, instances: Bytes, number: int, unit: int) -> Item:
    where = instances[plan.window] == number
    rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
    box = (
        int(plan.corner[0] + columns[0]),
        int(plan.corner[1] + rows[0]),
        int(columns[-1] - columns[0] + 1),
        int(rows[-1] - rows[0] + 1),
    )
    size = 'small' if plan.radius < 0.2 * unit else 'large' if plan.radius > 0.29 * unit else ''
    return Item(plan.label, plan.colour, size, box, int(where.sum()))
