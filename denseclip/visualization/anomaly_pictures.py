"""Anomaly maps over photographs, outlines and boxes of what is above the threshold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

_STOPS = np.array([[0, 0, 4], [72, 16, 108], [187, 55, 84], [249, 142, 9], [252, 255, 164]], dtype=np.float64)
_MIN_AREA = 1e-4
OUTLINE = (255, 255, 255)


@dataclass(frozen=True)
class Box:
    """A connected area above the threshold.

    Attributes:
        x: Left edge in pixels.
        y: Upper edge.
        width: Width.
        height: Height.
        score: Highest score inside.
    """

    x: int
    y: int
    width: int
    height: int
    score: float


def heat_colours() -> np.ndarray:
    """256 RGB colours from dark to bright yellow (stops of matplotlib's inferno), uint8, ever lighter."""
    places = np.linspace(0, 1, len(_STOPS))
    at = np.linspace(0, 1, 256)
    return np.stack([np.interp(at, places, channel) for channel in _STOPS.T], axis=1).round().astype(np.uint8)


def heat_overlay(image: np.ndarray, scores: np.ndarray, opacity: float = 0.75) -> np.ndarray:
    """Lay a map over a photograph; usual areas stay as they are, the higher the score the more the colour covers.

    Args:
        image: RGB, uint8, shape (H, W, 3).
        scores: Calibrated scores, 0..1, shape (H, W).
        opacity: How much of the photograph the highest score covers, 0..1.

    Returns:
        RGB, uint8, shape (H, W, 3).
    """
    levels = (scores * 255).round().astype(np.uint8)
    strength = np.clip((scores - 0.25) / 0.5, 0, 1)[..., None].astype(np.float32) * opacity
    return (image * (1 - strength) + heat_colours()[levels] * strength).round().astype(np.uint8)


def draw_outline(image: np.ndarray, mask: np.ndarray, thickness: int = 1) -> np.ndarray:
    """Draw white outlines, edged in black, around a mask's areas, into an RGB picture that is changed and returned."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(image, contours, -1, (0, 0, 0), thickness + 2)
    cv2.drawContours(image, contours, -1, OUTLINE, thickness)
    return image


def draw_boxes(image: np.ndarray, boxes: Sequence[Box], thickness: int = 1) -> np.ndarray:
    """Draw boxes, white edged in black, into an RGB picture that is changed and returned."""
    for box in boxes:
        corners = (box.x, box.y), (box.x + box.width - 1, box.y + box.height - 1)
        cv2.rectangle(image, *corners, (0, 0, 0), thickness + 2)
        cv2.rectangle(image, *corners, OUTLINE, thickness)
    return image


def boxes_of(mask: np.ndarray, scores: np.ndarray) -> list[Box]:
    """Boxes around the connected areas of a mask, highest score first; specks below 0.01 % of the picture are left out.

    Args:
        mask: bool, shape (H, W).
        scores: Scores, shape (H, W).
    """
    return [box for _, box in _boxes_by_number(mask, scores)[1]]


def areas_of(mask: np.ndarray, scores: np.ndarray) -> Iterator[tuple[np.ndarray, float]]:
    """The areas that :func:`boxes_of` puts boxes around, and their scores.

    Args:
        mask: bool, shape (H, W).
        scores: Scores, shape (H, W).

    Yields:
        A mask, bool, shape (H, W), and the highest score inside.
    """
    labels, found = _boxes_by_number(mask, scores)
    for number, box in found:
        yield labels == number, box.score


def _boxes_by_number(mask: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, list[tuple[int, Box]]]:
    """The number of the area of every pixel, and numbers and boxes of areas that are no specks."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    peaks = np.full(count, -np.inf)
    np.maximum.at(peaks, labels[mask], scores[mask])
    large = [k for k in range(1, count) if stats[k, cv2.CC_STAT_AREA] >= _MIN_AREA * mask.size]
    found = []
    for k in large:
        x, y, width, height = map(int, stats[k, :4])
        found.append((k, Box(x, y, width, height, float(peaks[k]))))
    return labels, sorted(found, key=lambda entry: (-entry[1].score, entry[1].y, entry[1].x))
