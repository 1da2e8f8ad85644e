"""Pictures as the graph takes them: resized, normalised, filled up."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from denseclip.runtime.label_maps import Box
from denseclip.runtime.manifest import Picture
from denseclip.runtime.resizing import Size, resize_pixels, shrink_pixels

_MAX_ASPECT = 16  # as denseclip.apis.batches: strips are extended until nothing in the network vanishes


def extend(pixels: np.ndarray) -> np.ndarray:
    """Repeat the lower or right border of strips until they are at most 16 times as long as wide."""
    height, width = pixels.shape[:2]
    shortest = -(-max(height, width) // _MAX_ASPECT)
    below, right = max(0, shortest - height), max(0, shortest - width)
    return np.pad(pixels, ((0, below), (0, right), (0, 0)), mode='edge') if below or right else pixels


def prepare(rgb: np.ndarray, steps: Picture) -> tuple[np.ndarray, Box]:
    """The input of the graph for a picture.

    Returns:
        The input, and the part of it without padding.

    Shape:
        - rgb: :math:`(H, W, 3)`, ``uint8``; result: :math:`(1, 3, h, w)`, float32
    """
    pixels = _resized(rgb, steps)
    if not steps.rgb:
        pixels = pixels[..., ::-1]
    mean, std = (np.array(value, dtype=np.float32) for value in (steps.mean, steps.std))
    planes = ((pixels.astype(np.float32) - mean) / std).transpose(2, 0, 1)
    height, width = planes.shape[1:]
    tall, wide = (-(-side // steps.pad_divisor) * steps.pad_divisor for side in (height, width))
    if steps.pad_size is not None:
        tall, wide = max(tall, steps.pad_size[0]), max(wide, steps.pad_size[1])
    room = ((0, 0), (0, tall - height), (0, wide - width))
    padded = np.pad(planes, room, constant_values=steps.pad_value) if (tall, wide) != (height, width) else planes
    if steps.whole is not None:
        padded = _filled(padded, steps.whole, steps.crop or (tall + 1, wide + 1), steps.whole_value)
    return np.ascontiguousarray(padded)[None], (0, height, 0, width)


def _filled(planes: np.ndarray, whole: Size, least: Size, colour: tuple[float, ...]) -> np.ndarray:
    """Planes (C, h, w) with sides of whole multiples, where they are shorter than ``least``."""
    height, width = planes.shape[1:]
    tall, wide = (
        side if side >= wanted else -(-side // step) * step
        for side, step, wanted in zip((height, width), whole, least, strict=True)
    )
    if (tall, wide) == (height, width):
        return planes
    filled = np.empty((len(planes), tall, wide), dtype=planes.dtype)
    filled[:] = np.array(colour, dtype=planes.dtype)[:, None, None]
    filled[:, :height, :width] = planes
    return filled


def _resized(rgb: np.ndarray, steps: Picture) -> np.ndarray:
    height, width = rgb.shape[:2]
    if steps.shorter is not None:
        return _scaled(rgb, _size(steps.shorter * side // min(height, width) for side in (height, width)), steps)
    if steps.fit is not None:
        return _scaled(rgb, _fitting((height, width), *steps.fit), steps)
    if steps.resize is None:
        if max(height, width) <= steps.most:
            return rgb
        short = (max(1, round(side * steps.most / max(height, width))) for side in (height, width))
        return shrink_pixels(rgb, _size(short))
    if not steps.keep_ratio:
        return _scaled(rgb, (steps.resize[1], steps.resize[0]), steps)
    factor = min(max(steps.resize) / max(height, width), min(steps.resize) / min(height, width))
    return _scaled(rgb, _size(max(1, int(side * float(factor) + 0.5)) for side in (height, width)), steps)


def _fitting(size: Size, shorter: int, longer: int) -> Size:
    """Size with this shorter side, unless the longer one would be too long."""
    factor = float(shorter) / min(size)
    sides = [float(shorter) if side == min(size) else factor * side for side in size]
    if longer and max(sides) > longer:
        factor = longer / max(sides)
        sides = [side * factor for side in sides]
    return _size(max(1, int(side + 0.5)) for side in sides)


def _scaled(rgb: np.ndarray, size: Size, steps: Picture) -> np.ndarray:
    if steps.backend == 'cv2':
        return resize_pixels(rgb, size)
    return np.asarray(Image.fromarray(rgb).resize(size[::-1], Image.Resampling.BILINEAR))


def _size(sides: Any) -> tuple[int, int]:
    height, width = sides
    return height, width
