"""Fifteen corruptions of pictures at five severities, for measuring what a model loses by them.

Source: ImageNet-C (Hendrycks & Dietterich, ICLR 2019) with the settings of Michaelis et al. ("Benchmarking Robustness
in Object Detection", 2019), which take pictures of any size. Written anew from their formulas: the package
``imagecorruptions`` cannot be imported beside a present setuptools, and parts of it fail with numpy 2. What differs:
all chance comes from a generator that the caller gives, pixels of glass blur swap in groups that do not touch each
other, the kernel of defocus blur sums to one, zoom blur grows from the middle, and frost is drawn, for the photographs
of frost have no known licence.

Labels stay where they are, as in those benchmarks, also where elastic transforms move pixels a little.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from . import blur, digital, noise, weather
from .arrays import Floats

Corruption: TypeAlias = Callable[[Floats, int, np.random.Generator], Floats]
"""Takes a picture (H, W, 3), RGB, 0..1, a severity 1..5 and a source of chance; gives the picture, clipped later."""

FAMILIES: Mapping[str, Mapping[str, Corruption]] = MappingProxyType(
    {
        'noise': {
            'gaussian_noise': noise.gaussian_noise,
            'shot_noise': noise.shot_noise,
            'impulse_noise': noise.impulse_noise,
        },
        'blur': {
            'defocus_blur': blur.defocus_blur,
            'glass_blur': blur.glass_blur,
            'motion_blur': blur.motion_blur,
            'zoom_blur': blur.zoom_blur,
        },
        'weather': {'snow': weather.snow, 'frost': weather.frost, 'fog': weather.fog},
        'digital': {
            'brightness': digital.brightness,
            'contrast': digital.contrast,
            'elastic_transform': digital.elastic_transform,
            'pixelate': digital.pixelate,
            'jpeg_compression': digital.jpeg_compression,
        },
    }
)
CORRUPTIONS: Mapping[str, Corruption] = MappingProxyType(
    {k: f for family in FAMILIES.values() for k, f in family.items()}
)
"""All by name, in the order of the benchmark's tables."""
SEVERITIES = (1, 2, 3, 4, 5)
LEAST_SIDE = 32
"""Shorter side from which on all corruptions are defined, in pixels."""


def corrupt(image: npt.NDArray[np.uint8], name: str, severity: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Corrupt a picture.

    Args:
        image: RGB, (H, W, 3).
        name: One of :data:`CORRUPTIONS`.
        severity: 1 to 5; 0 leaves the picture as it is.
        rng: All chance: the same state gives the same pixels.

    Returns:
        A new picture of the same size.

    Raises:
        ValueError: If there is no such corruption or severity, or the picture is too small.
    """
    if name not in CORRUPTIONS:
        raise ValueError(f"no corruption is called '{name}'; there are {', '.join(CORRUPTIONS)}.")
    if severity not in (0, *SEVERITIES):
        raise ValueError(f'severity {severity} is none of 0 (the picture itself) to {SEVERITIES[-1]}.')
    if severity == 0:
        return image.copy()
    if min(image.shape[:2]) < LEAST_SIDE:
        height, width = image.shape[:2]
        raise ValueError(f'a picture of {width} x {height} is too small: corruptions need {LEAST_SIDE} pixels a side.')
    found = CORRUPTIONS[name](image.astype(np.float32) / np.float32(255), severity, rng)
    return (found.clip(0, 1) * 255).astype(np.uint8)


__all__ = ['CORRUPTIONS', 'FAMILIES', 'LEAST_SIDE', 'SEVERITIES', 'corrupt']
