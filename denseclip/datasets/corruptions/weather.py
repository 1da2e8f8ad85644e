"""Snow, frost and fog."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from .arrays import Floats
from .blur import moved, smooth


def snow(x: Floats, severity: int, rng: np.random.Generator) -> Floats:
    """Flakes that fall, in a picture that is whitened."""
    mean, spread, zoom, least, radius, sigma, kept = (
        (0.1, 0.3, 3.0, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2.0, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4.0, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )[severity - 1]
    height, width = x.shape[:2]
    small = int(np.ceil(height / zoom)), int(np.ceil(width / zoom))
    flakes = mean + spread * rng.standard_normal(small, dtype=np.float32)
    large = cv2.resize(flakes, (width, height), interpolation=cv2.INTER_LINEAR)
    flakes = np.where(large < least, 0, large).clip(0, 1).astype(np.float32)
    falling = moved(flakes, radius, sigma, rng.uniform(-135, -45))[..., None]
    grey = cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)[..., None]
    white = kept * x + (1 - kept) * np.maximum(x, grey * 1.5 + 0.5)
    return (white + falling + np.rot90(falling, 2)).astype(np.float32)


def fog(x: Floats, severity: int, rng: np.random.Generator) -> Floats:
    """Clouds of uneven depth."""
    depth, decay = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))[severity - 1]
    brightest = float(x.max())
    found = x + depth * plasma(x.shape[:2], decay, rng)[..., None]
    return (found * brightest / (brightest + depth)).astype(np.float32)


def frost(x: Floats, severity: int, rng: np.random.Generator) -> Floats:
    """Ice on the lens; the amounts are the benchmark's, the crystals are drawn."""
    kept, ice = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))[severity - 1]
    return (kept * x + ice * crystals(x.shape[:2], rng)).astype(np.float32)


def plasma(size: tuple[int, ...], decay: float, rng: np.random.Generator) -> Floats:
    """A random landscape by the diamond-square algorithm.

    Args:
        size: Height and width in pixels.
        decay: How much smaller the chance of each finer level is.
        rng: All chance.

    Returns:
        Heights in 0..1, (H, W).
    """
    side = 1 << (max(size) - 1).bit_length()
    heights = np.zeros((side, side))
    step, amount = side, 100.0

    def about(total: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return total / 4 + amount * rng.uniform(-amount, amount, total.shape)

    while step >= 2:
        half = step // 2
        corners = heights[::step, ::step]
        squares = corners + np.roll(corners, -1, axis=0)
        heights[half::step, half::step] = about(squares + np.roll(squares, -1, axis=1))
        middles, corners = heights[half::step, half::step], heights[::step, ::step]
        heights[::step, half::step] = about(middles + np.roll(middles, 1, 0) + corners + np.roll(corners, -1, 1))
        heights[half::step, ::step] = about(middles + np.roll(middles, 1, 1) + corners + np.roll(corners, -1, 0))
        step, amount = half, amount / decay
    heights -= heights.min()
    return (heights / heights.max())[: size[0], : size[1]].astype(np.float32)


def crystals(size: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Ferns of ice, thicker in some places than in others.

    Args:
        size: Height and width in pixels.
        rng: All chance.

    Returns:
        Bluish white on dark, 0..1, (H, W, 3).
    """
    height, width = size
    unit = min(size)
    lines = np.zeros((height, width), np.uint8)
    count = max(12, round(40 * height * width / unit**2))
    for x, y, turn, length in zip(
        rng.uniform(0, width, count),
        rng.uniform(0, height, count),
        rng.uniform(0, np.pi, count),
        rng.uniform(0.15, 0.5, count) * unit,
        strict=True,
    ):
        _fern(lines, (x, y), turn, length)
    thick = plasma(size, 2.2, rng)
    ice = 0.22 + 0.5 * thick + 0.9 * thick * smooth((lines / 255).astype(np.float32), max(0.6, unit / 400))
    return ice[..., None] * np.array([0.86, 0.93, 1.0], np.float32)


def _fern(lines: npt.NDArray[np.uint8], root: tuple[float, float], turn: float, length: float) -> None:
    """Draw a stem, and branches at 60 degrees that get shorter towards its end."""
    along = np.array([np.cos(turn), np.sin(turn)])
    marks = np.arange(0.1, 1, 0.1)
    stem = np.array(root) + length * marks[:, None] * along
    ends = [(np.array(root), np.array(root) + length * along)]
    for side in (-np.pi / 3, np.pi / 3):
        out = np.array([np.cos(turn + side), np.sin(turn + side)])
        ends += list(zip(stem, stem + 0.45 * length * (1 - marks[:, None]) * out, strict=True))
    pairs = np.array(ends).round().astype(np.int32)
    cv2.polylines(lines, list(pairs), False, 255, 1, cv2.LINE_AA)
