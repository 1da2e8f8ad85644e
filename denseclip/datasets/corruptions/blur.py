"""Blur of lenses, of motion, and of glass in between."""

from __future__ import annotations

import cv2
import numpy as np

from .arrays import Floats


def smooth(
    x: Floats, sigma: float | tuple[float, float], truncate: float = 4.0, border: int = cv2.BORDER_REPLICATE
) -> Floats:
    """Gaussian blur as scikit-image does it.

    Args:
        x: (H, W) or (H, W, 3).
        sigma: In pixels; or one along height and one along width.
        truncate: Where the kernel ends, in sigmas.
        border: What lies outside the picture.
    """
    down, across = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    size = (2 * int(truncate * across + 0.5) + 1, 2 * int(truncate * down + 0.5) + 1)
    return cv2.GaussianBlur(x, size, sigmaX=across, sigmaY=down, borderType=border)  # type: ignore[return-value]


def defocus_blur(x: Floats, severity: int, rng: np.random.Generator) -> Floats:
    """A disk in place of each point."""
    del rng
    radius, alias = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[severity - 1]
    reach = max(8, radius)
    across = np.arange(-reach, reach + 1)
    disk = (across[:, None] ** 2 + across[None] ** 2 <= radius**2).astype(np.float32)
    size = 3 if radius <= 8 else 5
    kernel = cv2.GaussianBlur(disk, (size, size), sigmaX=alias)
    return cv2.filter2D(x, -1, kernel / kernel.sum())  # type: ignore[return-value]


def glass_blur(x: Floats, severity: int, rng: np.random.Generator) -> Floats:
    """Pixels change places with near ones, between two blurs.

    The swaps of a step lie so far apart that no two touch one pixel: a step is one assignment.
    """
    sigma, most, rounds = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[severity - 1]
    x = smooth(x, sigma)
    height, width = x.shape[:2]
    period = 2 * most
    for _ in range(rounds):
        for start in rng.permutation(period * period):
            rows, columns = np.meshgrid(
                np.arange(most + start // period, height - most, period),
                np.arange(most + start % period, width - most, period),
                indexing='ij',
            )
            down, right = rng.integers(-most, most, size=(2, *rows.shape))
            here, there = (rows, columns), (rows + down, columns + right)
            x[here], x[there] = x[there], x[here]
    return smooth(x, sigma)


def motion_blur(x: Floats, severity: int, rng: np.random.Generator) -> Floats:
    """The camera moves, in a direction of chance."""
    radius, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[severity - 1]
    return moved(x, radius, sigma, rng.uniform(-45, 45))


def moved(x: Floats, radius: int, sigma: float, angle: float) -> Floats:
    """Blur along a line that begins at the pixel: half a Gaussian.

    Args:
        x: (H, W) or (H, W, 3).
        radius: Half the line's length, in pixels.
        sigma: Of the Gaussian, in pixels.
        angle: Of the line, in degrees.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    turn = np.deg2rad(angle)
    down, right = (np.ceil(steps * part - 0.5).astype(int) for part in (np.sin(turn), np.cos(turn)))
    reach = 2 * radius + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    np.add.at(kernel, (reach + down, reach + right), weights / weights.sum())
    return cv2.filter2D(x, -1, kernel, borderType=cv2.BORDER_REPLICATE)  # type: ignore[return-value]


def zoom_blur(x: Floats, severity: int, rng: np.random.Generator) -> Floats:
    """The camera comes nearer: the mean of magnifications around the middle."""
    del rng
    end, step = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))[severity - 1]
    factors = np.arange(1, end, step)
    height, width = x.shape[:2]
    middle = (width - 1) / 2, (height - 1) / 2
    total = x.copy()
    for factor in factors:
        place = cv2.getRotationMatrix2D(middle, 0, float(factor))
        total += cv2.warpAffine(x, place, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return total / np.float32(len(factors) + 1)
