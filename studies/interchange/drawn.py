"""Pictures whose objects are known: with holes, in parts, in specks, overlapping, and with names of odd letters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from denseclip.apis.detection import Detections
from denseclip.apis.images import pictures_of
from denseclip.apis.predictor import Predictor
from denseclip.clip.vocabulary import Vocabulary
from denseclip.visualization.palette import palette_for

NAMES = ('straße', 'a "quoted" <b>&amp;</b>', "it's {x}, 1,2", '車', 'traffic light')
FILES = ('plain.png', 'with space.png', 'Grüße & <co>.png', "it's.png", '写真.png', '100%.png')


def draw_pictures(folder: Path, split: bool) -> list[Path]:
    """Noise of several sizes, no two alike; in folders of splits or not."""
    made = []
    for number, name in enumerate(FILES):
        size = (48 + 7 * (number % 3), 61 + 5 * (number % 2))
        path = folder / (('train', 'train', 'val')[number % 3] if split else '') / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)).save(path)
        made.append(path)
    return made


def masks_of(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Objects of a picture, told by its pixels alone: masks (n, H, W) and labels."""
    rng = np.random.default_rng(int(pixels.astype(np.int64).sum()))
    height, width = pixels.shape[:2]
    masks = []
    for kind in ('disc', 'ring', 'parts', 'specks', 'disc', 'pixel'):
        canvas = np.zeros((height, width), np.uint8)
        x, y = int(rng.integers(12, width - 12)), int(rng.integers(12, height - 12))
        radius = int(rng.integers(5, 11))
        if kind == 'specks':
            canvas[rng.random(canvas.shape) < 0.03] = 1
        elif kind == 'pixel':
            canvas[y, x] = 1
        else:
            cv2.circle(canvas, (x, y), radius, 1, -1)
        if kind == 'ring':
            cv2.circle(canvas, (x, y), radius // 2, 0, -1)
        if kind == 'parts':
            cv2.circle(canvas, (width - x, height - y), 3, 1, -1)
        masks.append(canvas.astype(bool))
    return np.stack(masks), rng.integers(0, len(NAMES), len(masks))


class Drawn(Predictor):
    """A detector that finds what was drawn.

    Args:
        boxes: Boxes without masks.
    """

    task = 'instance'

    def __init__(self, boxes: bool = False) -> None:
        self.vocabulary = Vocabulary.of(list(NAMES))
        self.names = self.vocabulary.names
        self.boxes, self.model = boxes, self

    def detect(self) -> None:
        """It is a detector."""

    def _find(self, image: Any, **options: Any) -> Any:
        pictures, several = pictures_of(image)
        found = [self._result(picture) for picture in pictures]
        return found if several else found[0]

    def _result(self, picture: Any) -> Detections:
        masks, labels = masks_of(picture.rgb)
        boxes = np.array([_box(mask) for mask in masks], np.float32)
        scores = np.linspace(0.95, 0.5, len(masks)).astype(np.float32)
        shown = None if self.boxes else masks
        return Detections(
            boxes, labels, scores, shown, self.names, palette_for(self.names), picture.rgb, picture.source
        )


def _box(mask: np.ndarray) -> list[int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
