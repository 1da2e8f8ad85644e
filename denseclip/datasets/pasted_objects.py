"""Objects cut out of labelled pictures by their masks and put on other grounds.

Source: the question is CounterAnimal's (Wang et al., "A Sober Look at the Robustness of CLIPs to Spurious Features",
NeurIPS 2024): how much of a class is its usual background? With masks the object itself can stay what it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

LEAST_SHARE, MOST_SHARE = 0.005, 0.35
"""Parts of a picture that an object may cover: smaller ones are a few patches, larger ones leave no ground."""


@dataclass(frozen=True)
class CutOut:
    """An object without its surroundings.

    Attributes:
        label: Its class.
        pixels: (h, w, 3).
        mask: Which of them are the object, (h, w).
        ground: The class that most of its surroundings have.
    """

    label: int
    pixels: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]
    ground: int


@dataclass(frozen=True)
class Pasted:
    """A picture with an object that it did not have.

    Attributes:
        rgb: (H, W, 3).
        labels: Class of each pixel, (H, W).
        label: The object's class.
        mask: Where the object is, (H, W).
        window: Its surroundings and itself, as rows and columns.
    """

    rgb: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    label: int
    mask: npt.NDArray[np.bool_]
    window: tuple[slice, slice]


def cut_out(
    rgb: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], label: int, grounds: Sequence[int]
) -> CutOut | None:
    """The largest object of a class.

    Args:
        rgb: (H, W, 3).
        labels: Class of each pixel, (H, W).
        label: The class.
        grounds: Classes that can be a ground.

    Returns:
        The largest connected part, or None where there is none of a fitting size, or no ground around it.
    """
    count, parts, stats, _ = cv2.connectedComponentsWithStats((labels == label).astype(np.uint8))
    if count < 2:
        return None
    best = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    left, top, width, height, area = (int(value) for value in stats[best])
    if not LEAST_SHARE <= area / labels.size <= MOST_SHARE:
        return None
    mask = parts == best
    reach = max(2, round(0.15 * area**0.5))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    around = labels[cv2.dilate(mask.astype(np.uint8), kernel).astype(bool) & ~mask]
    around = around[np.isin(around, [ground for ground in grounds if ground != label])]
    if not around.size:
        return None
    box = slice(top, top + height), slice(left, left + width)
    return CutOut(label, rgb[box].copy(), mask[box].copy(), int(np.bincount(around).argmax()))


def best_place(
    labels: npt.NDArray[np.int64], size: tuple[int, ...], ground: int, forbidden: int
) -> tuple[tuple[int, int], float]:
    """Where in a picture a window holds most of a ground.

    Args:
        labels: Class of each pixel, (H, W).
        size: Height and width of the window.
        ground: The class that it should hold.
        forbidden: A class that it must not touch.

    Returns:
        Top and left of the window, and the share of the ground in it, 0..1; 0 where it fits nowhere.
    """
    height, width = size
    if height > labels.shape[0] or width > labels.shape[1]:
        return (0, 0), 0.0
    wanted = (labels == ground).astype(np.float32) - 10 * (labels == forbidden)
    shares = cv2.boxFilter(wanted, cv2.CV_32F, (width, height), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    inside = shares[: labels.shape[0] - height + 1, : labels.shape[1] - width + 1]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return (int(top), int(left)), max(0.0, float(inside[top, left]))


def paste(rgb: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], thing: CutOut, corner: tuple[int, int]) -> Pasted:
    """Put an object into a picture; nothing but its own pixels changes.

    Args:
        rgb: The picture, (H, W, 3).
        labels: Class of each of its pixels, (H, W).
        thing: The object.
        corner: Top and left of its box.
    """
    (top, left), (height, width) = corner, thing.mask.shape
    rgb, labels = rgb.copy(), labels.copy()
    box = slice(top, top + height), slice(left, left + width)
    rgb[box][thing.mask] = thing.pixels[thing.mask]
    labels[box][thing.mask] = thing.label
    mask = np.zeros(labels.shape, bool)
    mask[box] = thing.mask
    window = slice(max(0, top - height // 2), top + height + height // 2), slice(max(0, left - width // 2), None)
    window = window[0], slice(window[1].start, left + width + width // 2)
    return Pasted(rgb, labels, thing.label, mask, window)
