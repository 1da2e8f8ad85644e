"""Noise of sensors and of transmission."""

from __future__ import annotations

import numpy as np

from .arrays import Floats


def gaussian_noise(x: Floats, severity: int, rng: np.random.Generator) -> Floats:
    """Additive noise, as in low light."""
    scale = (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    return x + scale * rng.standard_normal(x.shape, dtype=np.float32)


def shot_noise(x: Floats, severity: int, rng: np.random.Generator) -> Floats:
    """Noise of counting photons: the fewer a pixel gets, the stronger."""
    photons = (60, 25, 12, 5, 3)[severity - 1]
    return (rng.poisson(x * photons) / photons).astype(np.float32)


def impulse_noise(x: Floats, severity: int, rng: np.random.Generator) -> Floats:
    """Salt and pepper: channel values that are all or nothing."""
    share = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    hit = rng.random(x.shape, dtype=np.float32) < share
    salt = rng.random(x.shape, dtype=np.float32) < 0.5
    return np.where(hit, salt.astype(np.float32), x)
