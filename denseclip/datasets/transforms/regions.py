"""From a picture and a mask to a square with the region in it, for CLIP.

All of these keep the mask explicit: it is cut, resized and flipped with the picture, never guessed from colours, except
by ``RecoverMask``, for data that have no masks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS
from mmengine.structures import BaseDataElement
from PIL import Image

from denseclip.datasets.pair_store import mask_box
from denseclip.structures.run_lengths import pixels


@TRANSFORMS.register_module()
class CutRegion(BaseTransform):
    """Cut the box around a region out of ``img`` and paint over what the mask leaves out.

    Required keys: ``img`` (BGR), ``segmentation`` (``size`` and ``counts`` of a run-length code). Adds ``region_mask``,
    uint8 (h, w), of the size of the new ``img``.

    Args:
        fill: Colour around the region, RGB; None leaves the surroundings visible.
        expand: Factor of the sides of the box.

    Raises:
        ValueError: If picture and mask differ in size or the mask is empty.
    """

    def __init__(self, fill: Sequence[int] | None = (123, 117, 104), expand: float = 1.0) -> None:
        self.fill, self.expand = None if fill is None else tuple(fill), expand

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """See the class."""
        image, code = results['img'], results['segmentation']
        mask = pixels(code)
        if mask.shape != image.shape[:2] or not mask.any():
            raise ValueError(
                f'{results.get("img_path")}: a mask of {mask.shape} with {int(mask.sum())} pixels for a picture of '
                f'{image.shape[:2]} (height, width); were the pictures changed after mining?'
            )
        left, top, right, bottom = expanded_box(mask_box(mask), self.expand, mask.shape)
        mask = mask[top:bottom, left:right]
        image = image[top:bottom, left:right].copy()
        if self.fill is not None:
            image[~mask] = self.fill[::-1]
        return with_region(results, image, mask.astype(np.uint8))


@TRANSFORMS.register_module()
class RecoverMask(BaseTransform):
    """The mask of a picture whose surroundings were painted with one colour: every pixel of another colour.

    Resizing before this leaves mixed colours at the border, so that the mask grows by a pixel or two; ``erode`` takes
    such a rim off and paints it over as well. Required key: ``img`` (BGR); adds ``region_mask``.

    Args:
        fill: Colour of the surroundings, RGB; None: the sample's own ``fill``.
        erode: Side of the square that must lie inside the mask around each pixel that stays, odd; 1: no erosion.
    """

    def __init__(self, fill: Sequence[int] | None = None, erode: int = 1) -> None:
        if erode < 1 or erode % 2 == 0:
            raise ValueError(f'RecoverMask: erode={erode}: give an odd side')
        self.fill, self.erode = fill, erode

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """See the class."""
        image = results['img']
        fill = np.array((self.fill if self.fill is not None else results['fill'])[::-1], dtype=image.dtype)
        mask = (image != fill).any(axis=-1).astype(np.uint8)
        if self.erode > 1:
            kernel = np.ones((self.erode, self.erode), np.uint8)
            mask = cv2.erode(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
            image = np.where(mask[..., None].astype(bool), image, fill)
        return with_region(results, image, mask)


@TRANSFORMS.register_module()
class ResizeRegion(BaseTransform):
    """Bring ``img`` (Pillow's bicubic, with anti-aliasing) and ``region_mask`` (nearest) to a square.

    Args:
        size: Side of the square.
        mode: ``'squash'``: whatever the aspect ratio, as OVSeg's second stage. ``'shortest'``: the shorter side, then
            the middle, as CLIP's own preprocessing.
    """

    def __init__(self, size: int, mode: str = 'squash') -> None:
        if mode not in ('squash', 'shortest'):
            raise ValueError(f"ResizeRegion: mode='{mode}' is unknown; choose 'squash' or 'shortest'")
        self.size, self.mode = size, mode

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """See the class."""
        height, width = results['img'].shape[:2]
        if self.mode == 'squash':
            return resized(results, (0, 0, width, height), (self.size, self.size))
        short = min(height, width)
        new = (int(self.size * height / short), int(self.size * width / short))
        results = resized(results, (0, 0, width, height), new)
        top, left = (int(round((side - self.size) / 2.0)) for side in new)
        window = (slice(top, top + self.size), slice(left, left + self.size))
        mask = results.get('region_mask')
        return with_region(results, results['img'][window], None if mask is None else mask[window])


@TRANSFORMS.register_module()
class RandomResizedRegion(BaseTransform):
    """A random part of the region's box, resized to a square; the part always touches the mask.

    Args:
        size: Side of the square.
        scale: Share of the box's area that is kept, drawn uniformly.
        ratio: Range of the part's aspect ratio relative to the box's own, drawn log-uniformly.
    """

    def __init__(
        self, size: int, scale: tuple[float, float] = (0.9, 1.0), ratio: tuple[float, float] = (0.75, 4 / 3)
    ) -> None:
        self.size, self.scale, self.ratio = size, tuple(scale), tuple(ratio)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """See the class."""
        height, width = results['img'].shape[:2]
        mask = results.get('region_mask')
        for _ in range(10):
            left, top, right, bottom = self._part(height, width)
            if mask is None or mask[top:bottom, left:right].any():
                return resized(results, (left, top, right, bottom), (self.size, self.size))
        return resized(results, (0, 0, width, height), (self.size, self.size))

    def _part(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom; chance comes from NumPy's global state, which is seeded for every sample."""
        draw: Any = np.random
        area = draw.uniform(*self.scale) * height * width
        aspect = math.exp(draw.uniform(math.log(self.ratio[0]), math.log(self.ratio[1]))) * width / height
        w = min(max(round(math.sqrt(area * aspect)), 1), width)
        h = min(max(round(math.sqrt(area / aspect)), 1), height)
        top, left = draw.randint(height - h + 1), draw.randint(width - w + 1)
        return left, top, left + w, top + h


@TRANSFORMS.register_module()
class PackRegion(BaseTransform):
    """Pack a square with its mask, sentence and label.

    The result has ``inputs``, uint8 (3, H, W), in the channel order of ``img``, and ``data_samples`` with
    ``region_mask`` (bool (H, W), only if there is one) and, as meta information, ``caption``, ``caption_group``,
    ``gt_label`` and ``img_path``.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """See the class."""
        sample = BaseDataElement(
            metainfo=dict(
                img_path=results.get('img_path'),
                img_shape=results['img'].shape[:2],
                caption=results.get('gt_caption', ''),
                caption_group=results.get('caption_group', results.get('gt_caption', '')),
                gt_label=results.get('gt_label', -1),
            )
        )
        if results.get('region_mask') is not None:
            sample.set_data(dict(region_mask=torch.from_numpy(results['region_mask'].astype(bool))))
        image = torch.from_numpy(np.ascontiguousarray(results['img'].transpose(2, 0, 1)))
        return dict(inputs=image, data_samples=sample)


def expanded_box(box: tuple[int, int, int, int], ratio: float, size: tuple[int, ...]) -> tuple[int, int, int, int]:
    """A box stretched about its centre, corners truncated towards zero, cut to the picture (height, width)."""
    left, top, right, bottom = box
    x, y = (left + right) / 2, (top + bottom) / 2
    w, h = (right - left) * ratio / 2, (bottom - top) * ratio / 2
    return max(int(x - w), 0), max(int(y - h), 0), min(int(x + w), size[1]), min(int(y + h), size[0])


def resized(results: dict[str, Any], box: tuple[int, int, int, int], size: tuple[int, int]) -> dict[str, Any]:
    """``img`` and ``region_mask`` inside a box (left, top, right, bottom), resized to ``size`` (height, width)."""
    left, top, right, bottom = box
    window = (slice(top, bottom), slice(left, right))
    image = Image.fromarray(results['img'][window]).resize(size[::-1], Image.Resampling.BICUBIC)
    mask = results.get('region_mask')
    if mask is not None:
        mask = np.asarray(Image.fromarray(mask[window]).resize(size[::-1], Image.Resampling.NEAREST))
    return with_region(results, np.asarray(image), mask)


def with_region(results: dict[str, Any], image: np.ndarray, mask: np.ndarray | None) -> dict[str, Any]:
    """Put a new picture and mask into ``results``."""
    results['img'] = image
    results['img_shape'] = image.shape[:2]
    if mask is not None:
        results['region_mask'] = mask
    return results
