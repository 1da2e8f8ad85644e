"""Industrial parts as an inspection camera sees them, flawless or with one defect and its mask."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from . import shapes, textures
from .arrays import Bytes
from .scenes import expose


@dataclass(frozen=True)
class Part:
    """A kind of part.

    Attributes:
        name: Its noun, the name of its category.
        texture: Pattern of its surface.
        low: RGB of the pattern's dark places.
        high: RGB of its bright places.
        fills: Whether it is a surface that fills the picture, without an outline.
    """

    name: str
    texture: str
    low: tuple[int, int, int]
    high: tuple[int, int, int]
    fills: bool = False


PARTS: tuple[Part, ...] = (
    Part('nut', 'brushed', (120, 122, 128), (200, 202, 208)),
    Part('gear', 'plain', (150, 115, 45), (215, 180, 95)),
    Part('washer', 'brushed', (150, 85, 55), (215, 150, 110)),
    Part('plate', 'speckle', (75, 95, 120), (125, 150, 180)),
    Part('capsule', 'plain', (175, 60, 55), (235, 120, 110)),
    Part('screw', 'stripes', (95, 95, 100), (190, 190, 195)),
    Part('tile', 'marble', (150, 160, 150), (230, 235, 225), fills=True),
    Part('fabric', 'weave', (60, 75, 120), (140, 155, 200), fills=True),
)
DEFECTS: tuple[str, ...] = ('scratch', 'crack', 'stain', 'hole', 'dent')
"""Kinds of defects; all parts can have all of them."""
_STAINS = np.array([(60, 30, 20), (40, 110, 50), (150, 40, 120), (230, 210, 60)], np.float64)


@dataclass(frozen=True)
class PartPicture:
    """A picture of a part.

    Attributes:
        image: RGB, (H, W, 3).
        mask: 255 where the defect is, (H, W).
        part: Index into :data:`PARTS`.
        defect: Index into :data:`DEFECTS`, or None.
    """

    image: Bytes
    mask: Bytes
    part: int
    defect: int | None


def draw_part(rng: np.random.Generator, part: int, defect: int | None, size: tuple[int, int] = (64, 64)) -> PartPicture:
    """Draw a part.

    Args:
        rng: All chance.
        part: Index into :data:`PARTS`.
        defect: Index into :data:`DEFECTS`, or None for a flawless part.
        size: Height and width in pixels.
    """
    kind, unit = PARTS[part], min(size)
    scale = 64 / unit * rng.uniform(0.85, 1.15)
    colours = np.array([kind.low, kind.high], np.float64) + rng.normal(0, 6, 3)
    surface = textures.surface(rng, kind.texture, size, scale, rng.uniform(-0.3, 0.3), colours)
    if kind.fills:
        cover = np.full(size, 255, np.uint8)
        image = surface
    else:
        grey = rng.uniform(40, 90) + np.zeros((2, 3)) + [[0], [14]]
        table = textures.surface(rng, 'plain', size, scale, 0.0, grey)
        centre = (size[1] * rng.uniform(0.46, 0.54), size[0] * rng.uniform(0.46, 0.54))
        cover = shapes.fill(kind.name, size, centre, unit * rng.uniform(0.34, 0.4), rng.uniform(0, 2 * np.pi))
        image = _blend(table, surface, cover)
    mask = np.zeros(size, np.uint8)
    if defect is not None:
        image, mask = _damage(rng, image, cover, defect)
    return PartPicture(expose(rng, image), mask, part, defect)


def _damage(rng: np.random.Generator, image: Bytes, cover: Bytes, defect: int) -> tuple[Bytes, Bytes]:
    """Put a defect on the part; tried again until enough of it lies on the part."""
    unit = min(cover.shape)
    rows, columns = np.nonzero(cover > 200)
    best = np.zeros(cover.shape, np.uint8)
    for _ in range(8):
        k = int(rng.integers(len(rows)))
        alpha = _defect_cover(rng, DEFECTS[defect], cover.shape, (float(columns[k]), float(rows[k])), unit)
        alpha = np.minimum(alpha, cover)
        if (alpha > 127).sum() > (best > 127).sum():
            best = alpha
        if (best > 127).sum() >= 0.004 * unit * unit:
            break
    colour = _defect_colour(rng, DEFECTS[defect], image, best)
    return _blend(image, colour, best), np.where(best > 127, 255, 0).astype(np.uint8)


def _defect_cover(
    rng: np.random.Generator, name: str, size: tuple[int, ...], at: tuple[float, float], unit: int
) -> Bytes:
    cover = np.zeros(size, np.uint8)
    if name in ('scratch', 'crack'):
        steps = 7
        wander = 0.12 if name == 'scratch' else 1.1
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, wander, steps))
        length = unit * rng.uniform(0.25, 0.5) / steps
        path = np.cumsum(length * np.stack([np.cos(heading), np.sin(heading)], axis=1), axis=0)
        path += np.array(at) - path[steps // 2]
        width = max(2, round(unit * rng.uniform(0.025, 0.045)))
        cv2.polylines(cover, [np.round(path * 16).astype(np.int32)], False, 255, width, cv2.LINE_AA, 4)
        return cover
    points = 24
    radius = unit * (rng.uniform(0.05, 0.08) if name == 'hole' else rng.uniform(0.07, 0.13))
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    rough = 0.0 if name == 'hole' else 0.25
    wave = 1 + rough * np.sin(3 * angle + rng.uniform(0, 6.3)) + 0.6 * rough * np.sin(5 * angle + rng.uniform(0, 6.3))
    blob = radius * wave[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1) + at
    cv2.fillPoly(cover, [np.round(blob * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return cover


def _defect_colour(rng: np.random.Generator, name: str, image: Bytes, cover: Bytes) -> Bytes:
    """What is seen in the place of the surface."""
    shape = image.shape
    if name == 'stain':
        return np.broadcast_to(rng.choice(_STAINS) + rng.normal(0, 8, 3), shape).clip(0, 255).astype(np.uint8)
    if name == 'scratch':
        return np.broadcast_to(np.uint8(rng.uniform(225, 255)), shape)
    if name == 'dent':  # the light falls from above: dark rim on one side, bright on the other
        ramp = cv2.GaussianBlur(cover, (0, 0), max(1.0, min(shape[:2]) * 0.03)).astype(np.float32)
        slope = cv2.Sobel(ramp, cv2.CV_32F, 0, 1, ksize=3)
        slope = slope * (110 / max(float(np.abs(slope).max()), 1.0))
        return (image * 0.75 - slope[..., None]).clip(0, 255).astype(np.uint8)
    return np.broadcast_to(np.uint8(rng.uniform(5, 30)), shape)


def _blend(below: Bytes, above: Bytes, cover: Bytes) -> Bytes:
    share = cover.astype(np.uint16)[..., None]
    return ((above * share + below * (255 - share)) // 255).astype(np.uint8)
