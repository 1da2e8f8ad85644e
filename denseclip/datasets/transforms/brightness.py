"""Random brightness as a factor."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomBrightness(BaseTransform):
    """Multiply the picture by a random factor, as torchvision's ``ColorJitter(brightness=...)`` does.

    Args:
        strength: The factor is drawn from ``max(0, 1 - strength)`` to ``1 + strength``.
    """

    def __init__(self, strength: float = 0.5) -> None:
        if strength < 0:
            raise ValueError(f'RandomBrightness: strength must not be negative, got {strength}')
        self.strength = strength

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change ``results['img']``, (H, W, 3) in 0..255, and keep its type."""
        image = results['img']
        # NumPy's global generator is the one that the suite seeds for each sample.
        factor = np.random.uniform(max(0.0, 1.0 - self.strength), 1.0 + self.strength)  # noqa: NPY002
        results['img'] = (image.astype(np.float32) * factor).clip(0, 255).astype(image.dtype)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(strength={self.strength})'
