"""Colours of classes: those that a data set is known by, otherwise as different from each other as can be."""

from __future__ import annotations

import colorsys
import functools
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

BACKGROUND_COLOR = (96, 100, 108)
"""Neutral grey, which no class gets."""

# The first colours by hand: far apart, pleasant together, and readable over photographs.
_SEEDS = (
    (0xE6, 0x4B, 0x3C), (0x2E, 0x86, 0xDE), (0x2F, 0xB3, 0x6B), (0xF5, 0xB8, 0x1F), (0x8E, 0x5B, 0xD0),
    (0x17, 0xB8, 0xC4), (0xF2, 0x7A, 0xB4), (0x8A, 0x5A, 0x2B), (0xA6, 0xCE, 0x39), (0x1F, 0x3F, 0x93),
    (0xFF, 0x8C, 0x2E), (0x6E, 0x0F, 0x3C),
)  # fmt: skip
_GRID = 28
_TO_CONES = np.array([
    [0.4122214708, 0.2119034982, 0.0883024619],
    [0.5363325363, 0.6806995451, 0.2817188376],
    [0.0514459929, 0.1073969566, 0.6299787005],
])  # fmt: skip
_TO_LAB = np.array([
    [0.2104542553, 1.9779984951, 0.0259040371],
    [0.7936177850, -2.4285922050, 0.7827717662],
    [-0.0040720468, 0.4505937099, -0.8086757660],
])  # fmt: skip
_LIGHTNESS = (0.45, 0.92)
_LEAST_CHROMA = 0.06
_MSEG_SETS = ('cityscapes', 'ade', 'voc', 'pcontext', 'cocostuff', 'loveda', 'potsdam', 'isaid')


def distinct_palette(num_classes: int) -> np.ndarray:
    """Colours for any number of classes; the first K are the same whatever the number.

    After a dozen chosen by hand, each next colour is the one farthest (in OKLab, where distance is about what the eye
    sees) from all before it. Beyond some ten thousand classes colours repeat.

    Args:
        num_classes: number of colours.

    Returns:
        ``K x 3`` RGB, ``uint8``.
    """
    if num_classes < 0:
        raise ValueError(f'a palette has at least 0 colours, got {num_classes}.')
    length = 64
    while length < num_classes:
        length *= 4
    colors = _farthest_points(length)
    return np.resize(colors, (num_classes, 3)) if num_classes > len(colors) else colors[:num_classes].copy()


def known_palette(names: Sequence[str]) -> np.ndarray | None:
    """The palette of the data set that has exactly these classes, if MMSegmentation or the suite knows one.

    Args:
        names: class names in order; case does not count.

    Returns:
        ``K x 3`` RGB, or None.
    """
    return _known_palettes().get(tuple(name.casefold() for name in names))


def overlay_palette(names: Sequence[str], palette: np.ndarray, background: int | None = None) -> np.ndarray:
    """Colours that can be seen over photographs, where those of a data set cannot.

    Palettes of data sets are made for label maps: VOC's begins with black, CamVid's has six colours that are hardly
    lighter, and grey over a photograph is nearly invisible. Colours that are light and strong enough stay. The others
    are lifted, with their hue, or replaced where that would be like another class's.

    Args:
        names: class names in label order.
        palette: ``K x 3`` RGB.
        background: label of what is no class; like a class called "background", it is grey.

    Returns:
        ``K x 3`` RGB, ``uint8``; the palette itself if it is that of :func:`distinct_palette`.
    """
    palette = np.asarray(palette, dtype=np.uint8).reshape(-1, 3)
    return _overlay_palette(tuple(names), palette.tobytes(), background).copy()


@functools.lru_cache(maxsize=16)
def _overlay_palette(names: tuple[str, ...], colours_of: bytes, background: int | None) -> np.ndarray:
    """See :func:`overlay_palette`; the pictures of a run have the same classes."""
    palette = np.frombuffer(colours_of, dtype=np.uint8).reshape(-1, 3)
    count = len(palette)
    free = np.array([k != background and names[k].casefold() != 'background' for k in range(count)], dtype=bool)
    own = distinct_palette(count)
    if np.array_equal(palette[free], own[free]) or np.array_equal(palette[free], own[: int(free.sum())]):
        return np.where(free[:, None], palette, np.array(BACKGROUND_COLOR, dtype=np.uint8))
    lab = to_oklab(palette)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    seen = (lab[:, 0] >= _LIGHTNESS[0]) & (lab[:, 0] <= _LIGHTNESS[1]) & (chroma >= _LEAST_CHROMA)
    least = 0.08 if count <= 40 else 0.03
    colours, taken = palette.copy(), [to_oklab(np.array(BACKGROUND_COLOR))]
    colours[~free] = BACKGROUND_COLOR
    candidates = _Candidates()
    for keep in (True, False):  # colours that stay have the first choice
        for k in np.flatnonzero(free & (seen == keep)):
            wish = lab[k] if keep else _lifted(lab[k])
            colour = palette[k] if keep else from_oklab(wish)
            if not keep or min(np.linalg.norm(wish - other) for other in taken) < least:
                colour = candidates.apart(colour, taken, least)
            colours[k] = colour
            taken.append(to_oklab(colour))
    return colours


def _lifted(lab: np.ndarray) -> np.ndarray:
    """A colour of the same hue that can be seen; grey becomes a cool one."""
    chroma = float(np.hypot(lab[1], lab[2]))
    hue = np.array([-0.45, -0.89]) if chroma < 0.02 else lab[1:] / chroma
    lightness = np.clip(lab[0] + 0.12, 0.58, 0.8)
    return np.array([lightness, *(hue * np.clip(chroma, 0.12, 0.2))])


class _Candidates:
    """Strong colours, and how far each is from those that are taken (squares); colours are only ever added to these."""

    def __init__(self) -> None:
        colours, lab = _candidates()
        strong = (lab[:, 0] >= _LIGHTNESS[0]) & (np.hypot(lab[:, 1], lab[:, 2]) >= 0.1)
        self._colours, self._lab = colours[strong], lab[strong]
        self._distance = np.full(len(self._lab), np.inf)
        self._counted = 0

    def apart(self, colour: np.ndarray, taken: Sequence[np.ndarray], least: float) -> np.ndarray:
        """A colour, or the candidate farthest from all that are taken if it is too near to one of them."""
        if np.linalg.norm(np.stack(taken) - to_oklab(colour), axis=1).min() >= least:
            return colour
        for place in taken[self._counted :]:
            np.minimum(self._distance, ((self._lab - place) ** 2).sum(1), out=self._distance)
        self._counted = len(taken)
        return self._colours[int(self._distance.argmax())]


def palette_for(names: Sequence[str], background: bool = False) -> np.ndarray:
    """Colours for classes: the data set's where these are its classes, else distinct ones.

    Args:
        names: class names, without the background.
        background: whether to add the background's grey as the last colour.

    Returns:
        ``K x 3`` or, with background, ``(K + 1) x 3`` RGB, ``uint8``.
    """
    known = known_palette(names)
    colors = distinct_palette(len(names)) if known is None else known
    return np.vstack([colors, [BACKGROUND_COLOR]]).astype(np.uint8) if background else colors


@functools.cache
def _known_palettes() -> dict[tuple[str, ...], np.ndarray]:
    if not find_spec('mmseg'):
        return {}
    from mmseg.utils import get_classes, get_palette

    from denseclip.datasets.camvid import CamVidDataset

    pairs = [(get_classes(name), get_palette(name)) for name in _MSEG_SETS]
    pairs.append((CamVidDataset.METAINFO['classes'], CamVidDataset.METAINFO['palette']))
    return {
        tuple(str(name).casefold() for name in classes): np.array(palette, dtype=np.uint8)
        for classes, palette in pairs
        if len(classes) == len(palette)
    }


@functools.cache
def _farthest_points(length: int) -> np.ndarray:
    """The seeds, then candidates in farthest-point order, ``length`` colours at most."""
    candidates, lab = _candidates()
    colors = [np.array(seed, dtype=np.uint8) for seed in _SEEDS]
    distance = np.full(len(lab), np.inf, dtype=np.float32)
    for point in to_oklab(np.array([*_SEEDS, BACKGROUND_COLOR])):
        np.minimum(distance, ((lab - point) ** 2).sum(1), out=distance)
    while len(colors) < min(length, len(candidates)):
        best = int(distance.argmax())
        colors.append(candidates[best])
        np.minimum(distance, ((lab - lab[best]) ** 2).sum(1), out=distance)
    return np.stack(colors)[:length]


@functools.cache
def _candidates() -> tuple[np.ndarray, np.ndarray]:
    """A grid of RGB colours that are neither near black, near white, nor grey; and their OKLab coordinates."""
    axis = np.linspace(0, 255, _GRID).round()
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing='ij'), -1).reshape(-1, 3)
    lab = to_oklab(grid)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    keep = (lab[:, 0] > 0.36) & (lab[:, 0] < 0.9) & (chroma > 0.06)
    return grid[keep].astype(np.uint8), lab[keep].astype(np.float32)


def to_oklab(rgb: np.ndarray) -> np.ndarray:
    """SRGB to OKLab (B. Ottosson, "A perceptual color space for image processing", 2020).

    Args:
        rgb: ``... x 3`` in 0..255.

    Returns:
        ``... x 3``: lightness in 0..1, green-red, blue-yellow.
    """
    value = np.asarray(rgb, dtype=np.float64) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _TO_CONES) @ _TO_LAB


def from_oklab(lab: np.ndarray) -> np.ndarray:
    """OKLab to sRGB, the nearest that a screen has.

    Args:
        lab: ``... x 3``.

    Returns:
        ``... x 3``, ``uint8``.
    """
    cone = np.asarray(lab, dtype=np.float64) @ np.linalg.inv(_TO_LAB)
    linear = np.clip(cone**3 @ np.linalg.inv(_TO_CONES), 0, 1)
    value = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (value * 255 + 0.5).astype(np.uint8)


def class_colour(class_id: int) -> np.ndarray:
    """Colour of a class: hues a golden section apart, so that neighbouring ids are far from each other."""
    hue = (class_id * 0.6180339887) % 1.0
    value = 0.55 + 0.35 * ((class_id // 7) % 2)
    return np.array(colorsys.hsv_to_rgb(hue, 0.75, value)) * 255
