"""Periodic grey patterns, made once per process; a surface is a turned and scaled window of one, put into colours."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from .arrays import Bytes

_STEPS = np.linspace(0.0, 1.0, 256)[:, None]
SIDE = 256
"""Period of every pattern; 64 of its pixels span the shorter side of a picture at zoom 1."""


@functools.cache
def pattern(name: str) -> Bytes:
    """A pattern repeated three by three, so that every turned window of its middle lies inside.

    Args:
        name: One of :data:`NAMES`.

    Returns:
        Values from 0 (the low colour) to 255 (the high one), (768, 768).
    """
    return np.tile((_patterns()[name] * 255).clip(0, 255).astype(np.uint8), (3, 3))


def surface(
    rng: np.random.Generator, name: str, size: tuple[int, int], scale: float, turn: float, colours: np.ndarray
) -> Bytes:
    """A window of a pattern in colours.

    Args:
        rng: Chooses where the window lies.
        name: Of the pattern.
        size: Height and width.
        scale: Pattern pixels per picture pixel.
        turn: Angle of the pattern, in radians.
        colours: RGB of the pattern's 0 and 255, (2, 3).

    Returns:
        RGB, (H, W, 3).
    """
    height, width = size
    scale = min(scale, SIDE / np.hypot(height, width))
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    x, y = rng.uniform(SIDE, 2 * SIDE, 2)
    matrix = np.array(
        [[cos, -sin, x - (cos * width - sin * height) / 2], [sin, cos, y - (sin * width + cos * height) / 2]]
    )
    grey: np.ndarray = cv2.warpAffine(
        pattern(name),
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    table = (colours[0] + _STEPS * (colours[1] - colours[0])).clip(0, 255).astype(np.uint8)
    return np.take(table, grey, axis=0)


@functools.cache
def noise() -> np.ndarray:
    """Sensor noise of standard deviation 1, float32, (512, 512, 3); pictures take windows of it."""
    return np.random.default_rng(7).standard_normal((512, 512, 3)).astype(np.float32)


@functools.cache
def _patterns() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(20240607)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    wave = 2 * np.pi / 16  # two patches of 8 pixels, at zoom 1 in a picture of 64
    zig = np.abs((x % 16) - 8)
    return {
        'plain': 0.35 + 0.3 * _blurred(rng, 10),
        'stripes': _soft(np.sin(wave * x * 2)),
        'checks': _soft(4 * np.sin(wave * x) * np.sin(wave * y)),
        'dots': _soft(9 - np.hypot((x % 16) - 8, (y % 16) - 8) * 2),
        'grid': _soft(3 - 2 * np.minimum(x % 12.8, y % 12.8)),
        'zigzag': _soft(3 * np.sin(wave * (y + zig) * 2)),
        'waves': _soft(3 * np.sin(wave * y * 1.5 + 2.2 * np.sin(wave * x))),
        'scales': _soft(2 * np.hypot((x % 16) - 8, ((y + 8 * ((x // 16) % 2)) % 16) - 2) - 14),
        'diamonds': _soft(9 - 1.6 * (np.abs((x % 16) - 8) + np.abs((y % 16) - 8))),
        'bricks': 1 - _soft(3 - 2 * np.minimum(y % 8, (x + 8 * ((y // 8) % 2)) % 16)),
        'weave': np.where(
            ((x // 4) + (y // 4)) % 2 == 0, 0.5 + 0.5 * np.sin(wave * y * 2), 0.5 + 0.5 * np.sin(wave * x * 2)
        ),
        'grain': _stretched(rng, 14.0, 1.2),
        'tufts': _stretched(rng, 0.8, 3.5),
        'ripples': 0.6 * _stretched(rng, 9.0, 1.6) + 0.4 * _soft(np.sin(wave * y + 0.8 * np.sin(wave * x / 2))),
        'speckle': _blurred(rng, 0.8),
        'blotches': _blurred(rng, 5.0),
        'pebbles': _pebbles(rng),
        'stars': _soft(24 * (_blurred(rng, 1.2) - 0.85)),
        'bands': 0.5 + 0.5 * np.sin(wave * y / 2) * _stretched(rng, 20.0, 6.0),
        'brushed': _stretched(rng, 20.0, 0.6),
        'marble': _soft(3 * np.sin(wave * (x + y) / 2 + 5 * (_blurred(rng, 12.0) - 0.5))) * 0.6 + 0.3,
    }


def _soft(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-2 * values))


def _blurred(rng: np.random.Generator, sigma: float) -> np.ndarray:
    return _stretched(rng, sigma, sigma)


def _stretched(rng: np.random.Generator, along: float, across: float) -> np.ndarray:
    """Periodic noise with these correlation lengths, made even over 0..1."""
    white = np.tile(rng.standard_normal((SIDE, SIDE)), (3, 3))
    smooth = cv2.GaussianBlur(white, (0, 0), sigmaX=along, sigmaY=across)[SIDE:-SIDE, SIDE:-SIDE]
    return np.clip(0.5 + (smooth - smooth.mean()) / (4 * smooth.std()), 0, 1)


def _pebbles(rng: np.random.Generator) -> np.ndarray:
    """Distance to the nearest of scattered points: rounded stones with dark gaps."""
    points = rng.integers(0, SIDE, (420, 2))
    seeds = np.full((3 * SIDE, 3 * SIDE), 255, np.uint8)
    shifts = np.array([(dy, dx) for dy in range(3) for dx in range(3)]) * SIDE
    places = (points[None] + shifts[:, None]).reshape(-1, 2)
    seeds[places[:, 0], places[:, 1]] = 0
    distance = cv2.distanceTransform(seeds, cv2.DIST_L2, 5)[SIDE:-SIDE, SIDE:-SIDE]
    return 1 - np.clip(distance / 9.0, 0, 1) ** 2


NAMES: tuple[str, ...] = tuple(_patterns())
"""All patterns."""
