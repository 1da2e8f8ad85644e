"""From a sample of an anomaly data set to what an anomaly model takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mmcv
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS
from mmengine.structures import PixelData

from denseclip.datasets.anomaly_masks import read_mask
from denseclip.structures import AnomalyDataSample

META_KEYS = ('img_path', 'ori_shape', 'img_shape', 'category', 'object_name', 'defect_type')


@TRANSFORMS.register_module()
class LoadPicture(BaseTransform):
    """Read ``img_path`` of any common kind as 8-bit BGR: 16-bit, grey, transparent, turned by EXIF.

    Reads as ``denseclip anomaly`` and ``denseclip segment`` do, so that a folder scores the same by command and by
    config.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``img``, ``img_shape`` and ``ori_shape``."""
        from denseclip.apis.images import read_image  # a leaf of the package; at module level it would close a circle

        image = read_image(results['img_path'])
        results.update(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
        return results


@TRANSFORMS.register_module()
class LoadAnomalyMask(BaseTransform):
    """Read ``mask_path`` as ``gt_mask``: 1 where defective; all zero for a normal picture.

    A defective picture without a mask gets none, and pixel measures of its category are then not defined.

    Args:
        threshold: What is greater is defective. 0: anything that is not black, as in MVTec AD and VisA; 127 for the
            Magnetic-tile set, whose masks have soft edges. None: what the data set says (``mask_threshold``); where
            that is None as well, by the mask's values: 127 for many greys between black and white, else 0.
    """

    def __init__(self, threshold: int | None = None) -> None:
        self.threshold = threshold

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``gt_mask``, uint8, (H, W).

        Raises:
            UnreadableFileError: If the mask is missing or damaged.
            ValueError: If its size is not the picture's.
        """
        size = tuple(results['ori_shape'])
        if results.get('mask_path'):
            threshold = results.get('mask_threshold', 0) if self.threshold is None else self.threshold
            mask = read_mask(results['mask_path'], threshold)
            if mask.shape != size:
                raise ValueError(
                    f'{results["mask_path"]}: size {mask.shape} differs from its picture {size} (height, width)'
                )
            results['gt_mask'] = mask
        elif not results['gt_label']:
            results['gt_mask'] = np.zeros(size, dtype=np.uint8)
        return results


@TRANSFORMS.register_module()
class ResizePicture(BaseTransform):
    """Resize picture and mask as AnoVL's scripts do: Pillow's bilinear filter with antialiasing, masks cut at a half.

    Args:
        size: Height and width; or one number, the length of the shorter side, the longer one rounded down.
        mask: Whether the mask is resized too, so that measures are taken at the network's input size (the authors' way;
            goes with ``map_size='input'`` of the model) and not at that of the file.
    """

    def __init__(self, size: int | Sequence[int], mask: bool = False) -> None:
        self.size = size if isinstance(size, int) else (int(size[0]), int(size[1]))
        self.mask = mask

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change ``img``, ``img_shape`` and, where asked for, ``gt_mask``."""
        height, width = self.target(*results['img'].shape[:2])
        results['img'] = mmcv.imresize(results['img'], (width, height), interpolation='bilinear', backend='pillow')
        results['img_shape'] = (height, width)
        if self.mask and 'gt_mask' in results:
            soft = mmcv.imresize(results['gt_mask'] * 255, (width, height), interpolation='bilinear', backend='pillow')
            results['gt_mask'] = (soft > 127.5).astype(np.uint8)
        return results

    def target(self, height: int, width: int) -> tuple[int, int]:
        """Size (height, width) that a picture of this size gets."""
        if not isinstance(self.size, int):
            return self.size
        short = min(height, width)
        return max(self.size, self.size * height // short), max(self.size, self.size * width // short)


@TRANSFORMS.register_module()
class PackAnomalyInputs(BaseTransform):
    """Make the picture a tensor and the rest an :class:`~denseclip.structures.AnomalyDataSample`.

    Args:
        meta_keys: What the data sample's metainfo takes over, as far as it is there.
    """

    def __init__(self, meta_keys: Sequence[str] = META_KEYS) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """``inputs`` uint8 (3, H, W) in the picture's channel order, and ``data_samples``."""
        sample = AnomalyDataSample(metainfo={key: results[key] for key in self.meta_keys if key in results})
        if 'gt_label' in results:
            sample.gt_label = results['gt_label']
        if 'gt_mask' in results:
            sample.gt_mask = PixelData(data=torch.from_numpy(results['gt_mask'])[None])
        picture = torch.from_numpy(np.ascontiguousarray(results['img'].transpose(2, 0, 1)))
        return dict(inputs=picture, data_samples=sample)
