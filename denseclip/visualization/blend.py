"""Class colours over a photograph: translucent areas with a thin light line between them."""

from __future__ import annotations

import numpy as np

from denseclip.visualization.raster import soften, thicken


def blend(
    image: np.ndarray, labels: np.ndarray, palette: np.ndarray, opacity: float = 0.5, fade: int | None = None
) -> np.ndarray:
    """Colour every pixel by its class.

    Args:
        image: ``H x W x 3`` RGB, ``uint8``.
        labels: ``H x W`` integers; labels outside the palette (255, say) leave the photograph as it is.
        palette: ``K x 3`` RGB.
        opacity: how much of the class colour covers the photograph, 0..1.
        fade: a label (the background) that gets half of the opacity.

    Returns:
        ``H x W x 3`` RGB, ``uint8``.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f'opacity must be in 0..1, got {opacity}.')
    num_classes = len(palette)
    weights = np.full(num_classes + 1, opacity, dtype=np.float32)
    weights[num_classes] = 0
    if fade is not None:
        weights[fade] = opacity / 2
    colors = np.vstack([palette, [[0, 0, 0]]]).astype(np.float32) * weights[:, None]
    result = np.empty_like(image)
    # What becomes of each of 256 values under each class. A band of rows at a time: numbers of places stand in memory.
    values = np.arange(256, dtype=np.uint8)[:, None]
    table = (values * (1 - weights)[:, None, None] + colors[:, None] + 0.5).astype(np.uint8).reshape(-1)
    rows = max(1, 2**20 // max(1, image.shape[1]))
    for top in range(0, image.shape[0], rows):
        index = np.minimum(labels[top : top + rows].astype(np.int64), num_classes)
        place = (256 * 3 * index)[..., None] + np.multiply(image[top : top + rows], 3, dtype=np.int64) + np.arange(3)
        np.take(table, place, out=result[top : top + rows], mode='clip')
    return result


def boundaries(labels: np.ndarray, thickness: int = 1) -> np.ndarray:
    """Where neighbouring pixels have different labels.

    Args:
        labels: ``H x W`` integers.
        thickness: width of the line in pixels.

    Returns:
        ``H x W`` line strength, ``uint8`` 0..255, with soft edges.
    """
    line: np.ndarray = np.zeros(labels.shape, dtype=bool)
    line[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    line[1:] |= labels[1:] != labels[:-1]
    if thickness > 1:
        line = thicken(line, thickness)
    strength = line.astype(np.uint8) * np.uint8(255)
    return soften(strength) if min(labels.shape) > 2 else strength


def draw_boundaries(image: np.ndarray, labels: np.ndarray, thickness: int, strength: float = 0.85) -> np.ndarray:
    """Draw white lines between areas into an RGB picture, which is changed in place and returned."""
    line = boundaries(labels, thickness)
    touched = line > 0
    weight = line[touched].astype(np.float32)[:, None] * (strength / 255)
    image[touched] = (image[touched] * (1 - weight) + 255 * weight + 0.5).astype(np.uint8)
    return image
