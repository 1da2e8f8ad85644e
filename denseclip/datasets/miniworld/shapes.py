"""Outlines of things and parts in a unit circle, as polygons whose overlaps are holes (even-odd rule)."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from .arrays import Bytes

Contours = tuple[np.ndarray, ...]
_SUBPIXEL = 4  # bits of the coordinates behind the point, as cv2.fillPoly counts them


def _circle(x: float = 0.0, y: float = 0.0, rx: float = 1.0, ry: float | None = None, points: int = 28) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([x + rx * np.cos(angle), y + (rx if ry is None else ry) * np.sin(angle)], axis=1)


def _arc(x: float, y: float, r: float, start: float, stop: float, points: int = 14) -> np.ndarray:
    angle = np.radians(np.linspace(start, stop, points))
    return np.stack([x + r * np.cos(angle), y + r * np.sin(angle)], axis=1)


def _polar(radii: np.ndarray, turn: float = -np.pi / 2) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, len(radii), endpoint=False) + turn
    return np.stack([radii * np.cos(angle), radii * np.sin(angle)], axis=1)


def _polygon(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, dtype=np.float64)


def _box(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return _polygon((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x, y - 2], axis=1) / 17


def _gear() -> np.ndarray:
    return _polar(np.tile([1.0, 1.0, 0.74, 0.74], 10))


@functools.cache
def outline(name: str) -> Contours:
    """Contours of a shape; x to the right, y down, nothing farther than 1.2 from the centre.

    Raises:
        KeyError: If there is no such shape.
    """
    return _OUTLINES[name]


_OUTLINES: dict[str, Contours] = {
    'ball': (_circle(),),
    'box': (_box(-0.85, -0.85, 0.85, 0.85),),
    'star': (_polar(np.tile([1.1, 0.5], 5)),),
    'ring': (_circle(), _circle(rx=0.5)),
    'heart': (_heart(),),
    'leaf': (np.concatenate([_arc(0, 0.75, 1.25, -143, -37), _arc(0, -0.75, 1.25, 37, 143)]),),
    'fish': (
        np.concatenate([_arc(-0.25, 0, 0.75, 30, 330, 20) * (1, 0.8), _polygon((1.0, -0.65), (0.8, 0.0), (1.0, 0.65))]),
    ),
    'mug': (
        np.concatenate(
            [_box(-0.9, -0.85, 0.45, 0.85)[:2], _arc(0.45, 0, 0.55, -75, 75), _box(-0.9, -0.85, 0.45, 0.85)[2:]]
        ),
        _circle(0.62, 0, 0.22, 0.3),
    ),
    'key': (
        np.concatenate(
            [
                _arc(-0.5, 0, 0.55, 20, 340, 18),
                _polygon(
                    (1.1, -0.2), (1.1, 0.55), (0.85, 0.55), (0.85, 0.2), (0.6, 0.2), (0.6, 0.5), (0.4, 0.5), (0.4, 0.2)
                ),
            ]
        ),
        _circle(-0.55, 0, 0.2),
    ),
    'arrow': (
        _polygon((-1.05, -0.33), (0.05, -0.33), (0.05, -0.85), (1.05, 0), (0.05, 0.85), (0.05, 0.33), (-1.05, 0.33)),
    ),
    'crown': (
        _polygon((-0.95, 0.75), (-0.95, -0.7), (-0.45, -0.05), (0, -0.85), (0.45, -0.05), (0.95, -0.7), (0.95, 0.75)),
    ),
    'boat': (
        _polygon(
            (-1.05, 0.25),
            (-0.08, 0.25),
            (-0.08, -1.0),
            (0.8, 0.15),
            (0.1, 0.15),
            (0.1, 0.25),
            (1.05, 0.25),
            (0.65, 0.85),
            (-0.65, 0.85),
        ),
    ),
    'tree': (
        _polygon(
            (0, -1.1),
            (0.55, -0.4),
            (0.3, -0.4),
            (0.85, 0.5),
            (0.2, 0.5),
            (0.2, 1.0),
            (-0.2, 1.0),
            (-0.2, 0.5),
            (-0.85, 0.5),
            (-0.3, -0.4),
            (-0.55, -0.4),
        ),
    ),
    'house': (
        _polygon((0, -1.05), (1.0, -0.25), (0.8, -0.25), (0.8, 0.9), (-0.8, 0.9), (-0.8, -0.25), (-1.0, -0.25)),
        _box(-0.2, 0.25, 0.25, 0.9),
    ),
    'kite': (_polygon((0, -1.1), (0.75, -0.3), (0, 1.1), (-0.75, -0.3)),),
    'mushroom': (
        np.concatenate(
            [_arc(0, 0, 1.0, 180, 360, 18), _polygon((0.32, 0.02), (0.32, 0.95), (-0.32, 0.95), (-0.32, 0.02))]
        ),
    ),
    'flower': (_polar(0.78 + 0.28 * np.cos(6 * np.linspace(0, 2 * np.pi, 60, endpoint=False))), _circle(rx=0.2)),
    'bottle': (
        _polygon(
            (-0.2, -1.1),
            (0.2, -1.1),
            (0.2, -0.5),
            (0.55, -0.15),
            (0.55, 1.0),
            (-0.55, 1.0),
            (-0.55, -0.15),
            (-0.2, -0.5),
        ),
    ),
    'bell': (
        np.concatenate(
            [
                _arc(0, -0.25, 0.62, 180, 360, 14),
                _polygon((0.7, 0.35), (1.0, 0.7), (0.2, 0.7), (0, 1.0), (-0.2, 0.7), (-1.0, 0.7), (-0.7, 0.35)),
            ]
        ),
    ),
    'hat': (
        _polygon(
            (-0.55, -0.8), (0.55, -0.8), (0.62, 0.3), (1.1, 0.38), (1.1, 0.72), (-1.1, 0.72), (-1.1, 0.38), (-0.62, 0.3)
        ),
    ),
    'nut': (_polar(np.full(6, 1.05)), _circle(rx=0.5)),
    'gear': (_gear(), _circle(rx=0.28)),
    'washer': (_circle(), _circle(rx=0.42)),
    'plate': (
        _box(-0.95, -0.75, 0.95, 0.75),
        _circle(-0.68, -0.48, 0.13),
        _circle(0.68, -0.48, 0.13),
        _circle(-0.68, 0.48, 0.13),
        _circle(0.68, 0.48, 0.13),
    ),
    'capsule': (np.concatenate([_arc(0.5, 0, 0.5, -90, 90), _arc(-0.5, 0, 0.5, 90, 270)]),),
    'screw': (
        _polygon(
            (-1.1, -0.5),
            (-0.65, -0.5),
            (-0.65, -0.24),
            (0.8, -0.24),
            (1.1, 0),
            (0.8, 0.24),
            (-0.65, 0.24),
            (-0.65, 0.5),
            (-1.1, 0.5),
        ),
    ),
}


def fill(
    name: str, size: tuple[int, int], centre: tuple[float, float], radius: float, turn: float, squeeze: float = 1.0
) -> Bytes:
    """Coverage of a shape, smooth at its edge.

    Args:
        name: Of the shape.
        size: Height and width of the result.
        centre: x and y, in pixels.
        radius: Pixels of the unit circle.
        turn: Angle, in radians.
        squeeze: Width over height.

    Returns:
        0 outside, 255 inside, (H, W).
    """
    cos, sin = np.cos(turn), np.sin(turn)
    matrix = radius * np.array([[cos, sin], [-sin, cos]]) * np.array([[squeeze**0.5], [squeeze**-0.5]])
    one = 1 << _SUBPIXEL
    contours = [np.round((c @ matrix + centre) * one).astype(np.int32) for c in outline(name)]
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, contours, 255, lineType=cv2.LINE_AA, shift=_SUBPIXEL)
    return mask
