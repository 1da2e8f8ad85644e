"""A model that costs about a millisecond: the nearest of a few colours for each pixel, and two ways to misbehave."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np

from denseclip.apis.images import Picture, pictures_of
from denseclip.apis.predictor import Predictor
from denseclip.apis.segmentation import Segmentation
from denseclip.clip.vocabulary import Vocabulary
from denseclip.visualization.palette import palette_for

COLOURS = {'sand': (200, 180, 120), 'sea': (30, 60, 160), 'grass': (40, 150, 60), 'stone': (120, 120, 120)}
POISON = (1, 2, 3)
"""First pixel of a picture that ends the process which looks at it."""


class ColourModel(Predictor):
    """Nearest colours.

    Args:
        wait: Seconds that a picture takes besides, as if an accelerator computed.
    """

    calibration = None

    def __init__(self, wait: float = 0.0) -> None:
        self.vocabulary = Vocabulary.of('; '.join(COLOURS))
        self.task, self.model = 'semantic', self
        self._wait = wait
        self._colours = np.array(list(COLOURS.values()), np.int16)

    def _find(self, image: Any, *args: Any, **options: Any) -> Any:
        pictures, several = pictures_of(image)
        time.sleep(self._wait * len(pictures))
        found = [self._result(picture) for picture in pictures]
        return found if several else found[0]

    def _result(self, picture: Picture) -> Segmentation:
        if tuple(picture.rgb[0, 0]) == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        apart = np.abs(picture.rgb[:, :, None].astype(np.int16) - self._colours).sum(axis=-1)
        labels = np.argmin(apart, axis=-1).astype(np.uint8)
        return Segmentation(labels, self.vocabulary, palette_for(self.vocabulary.names), picture.rgb, picture.source)
