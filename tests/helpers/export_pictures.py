"""Pictures for comparing exports with their models."""

from __future__ import annotations

import numpy as np
from PIL import Image


def picture(size: tuple[int, int]) -> np.ndarray:
    """Smooth areas, as in photographs: in noise two classes are alike everywhere."""
    rng = np.random.default_rng(size[0] * size[1])
    coarse = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))
