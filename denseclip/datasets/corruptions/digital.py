"""What cameras and files do to pictures."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image

from .arrays import Floats
from .blur import smooth


def brightness(x: Floats, severity: int, rng: np.random.Generator) -> Floats:
    """More light: a higher value in HSV."""
    del rng
    hsv = cv2.cvtColor(x, cv2.COLOR_RGB2HSV)
    hsv[..., 2] = (hsv[..., 2] + (0.1, 0.2, 0.3, 0.4, 0.5)[severity - 1]).clip(0, 1)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)  # type: ignore[return-value]


def contrast(x: Floats, severity: int, rng: np.random.Generator) -> Floats:
    """All values nearer to the mean of their channel."""
    del rng
    mean = x.mean(axis=(0, 1), keepdims=True)
    return (x - mean) * np.float32((0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1]) + mean


def elastic_transform(x: Floats, severity: int, rng: np.random.Generator) -> Floats:
    """The picture is stretched and squeezed a little everywhere."""
    height, width = x.shape[:2]
    strength = 250 * (0.05, 0.065, 0.085, 0.1, 0.12)[severity - 1]
    most, sigma = 0.005 * height, (0.01 * height, 0.01 * width)
    across, down = (
        strength * smooth(rng.uniform(-most, most, (height, width)).astype(np.float32), sigma, 3.0, cv2.BORDER_REFLECT)
        for _ in range(2)
    )
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(x, columns + across, rows + down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)  # type: ignore[return-value]


def pixelate(x: Floats, severity: int, rng: np.random.Generator) -> Floats:
    """Fewer, larger pixels."""
    del rng
    factor = (0.6, 0.5, 0.4, 0.3, 0.25)[severity - 1]
    picture = Image.fromarray((x * 255).round().astype(np.uint8))
    small = picture.resize((int(picture.width * factor), int(picture.height * factor)), Image.Resampling.BOX)
    return _floats(small.resize(picture.size, Image.Resampling.NEAREST))


def jpeg_compression(x: Floats, severity: int, rng: np.random.Generator) -> Floats:
    """A file that was made small."""
    del rng
    packed = io.BytesIO()
    quality = (25, 18, 15, 10, 7)[severity - 1]
    Image.fromarray((x * 255).round().astype(np.uint8)).save(packed, 'JPEG', quality=quality)
    return _floats(Image.open(packed))


def _floats(picture: Image.Image) -> Floats:
    return (np.asarray(picture) / np.float32(255)).astype(np.float32)
