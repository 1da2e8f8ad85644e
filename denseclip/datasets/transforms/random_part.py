"""Pictures of many sizes from one: whole, or a random part; and the same draws each time a picture comes by."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform, Compose
from mmengine.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomPart(BaseTransform):
    """The whole picture or a random part of it, with sides that are whole multiples.

    The size differs from picture to picture, so a batch has one picture, or pads. A picture whose shorter side is less
    than ``least`` is enlarged to that, and whole. For pictures without labels.

    Args:
        share: Sides of a part, each drawn from these shares of the picture's.
        least: No side is shorter, in pixels; a multiple of ``multiple``.
        multiple: Of which sides are multiples, in pixels.
        prob: Of a part rather than the whole.

    Raises:
        ValueError: If shares, sides or probability make no sense.
    """

    def __init__(
        self, share: Sequence[float] = (0.4, 1.0), least: int = 512, multiple: int = 16, prob: float = 0.5
    ) -> None:
        low, high = share
        if not 0 < low <= high <= 1 or not 0 <= prob <= 1:
            raise ValueError(f'RandomPart: share={tuple(share)} and prob={prob} must be shares of 1, the least first.')
        if least < 1 or multiple < 1 or least % multiple:
            raise ValueError(f'RandomPart: least={least} is no whole multiple of {multiple}.')
        self.share, self.least, self.multiple, self.prob = (low, high), least, multiple, prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replace ``results['img']`` (H, W, 3) and set ``img_shape``.

        Raises:
            ValueError: If there are labels, which would be left behind.
        """
        if results.get('gt_seg_map') is not None or results.get('gt_bboxes') is not None:
            raise ValueError('RandomPart is for pictures without labels; use RandomCrop.')
        image = results['img']
        height, width = image.shape[:2]
        enlarge = self.least / min(height, width)
        if enlarge <= 1 and np.random.random_sample() < self.prob:  # noqa: NPY002 - the generator the suite seeds
            tall, wide = self._side(height), self._side(width)
            top, left = _start(height - tall), _start(width - wide)
            image = np.ascontiguousarray(image[top : top + tall, left : left + wide])
        else:
            tall, wide = (self._whole(side * max(enlarge, 1.0)) for side in (height, width))
            if (tall, wide) != (height, width):
                image = mmcv.imresize(image, (wide, tall), interpolation='bilinear')
        results['img'] = image
        results['img_shape'] = image.shape[:2]
        return results

    def _side(self, side: int) -> int:
        """Of a part of a picture of this side."""
        drawn = np.random.randint(int(side * self.share[0]), int(side * self.share[1]) + 1)  # noqa: NPY002
        return self._whole(drawn)

    def _whole(self, side: float) -> int:
        return max(int(side) // self.multiple * self.multiple, self.least)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(share={self.share}, least={self.least}, prob={self.prob})'


@TRANSFORMS.register_module()
class DrawnOnce(BaseTransform):
    """Transforms whose random draws are always the same for a picture, whatever was drawn before.

    So what is expensive to say of a transformed picture can be kept and found again. Generators of NumPy and Python are
    left as they were.

    Args:
        transforms: Configs.
        seed: Another one gives other draws.
    """

    def __init__(self, transforms: Sequence[Any], seed: int = 0) -> None:
        self.transforms = Compose(list(transforms))
        self.seed = seed

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Run them; the picture is known by its file's name, or else by ``img_id``."""
        name = Path(results['img_path']).name if 'img_path' in results else str(results['img_id'])
        drawn = int.from_bytes(hashlib.sha256(f'{self.seed}:{name}'.encode()).digest()[:4], 'big')
        before = random.getstate(), np.random.get_state()  # noqa: NPY002
        try:
            random.seed(drawn)
            np.random.seed(drawn)  # noqa: NPY002
            return self.transforms(results)
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.transforms}, seed={self.seed})'


def _start(room: int) -> int:
    """Where a part begins, of so many places more than one."""
    return int(np.random.randint(0, room + 1))  # noqa: NPY002
