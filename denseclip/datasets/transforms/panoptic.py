"""Panoptic truth in pipelines: a map of segment numbers that every transform of a label map moves along."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS
from mmengine.structures import InstanceData, PixelData
from mmseg.datasets.transforms import PackSegInputs
from PIL import Image

from denseclip.datasets.files import UnreadableFileError
from denseclip.structures.panoptic import rgb_to_ids, segment_targets

FIRST_NUMBER = 256
"""Number of the first segment in ``gt_seg_map``; lower values, such as the 255 of padding, are void."""
IGNORED = 255


@TRANSFORMS.register_module()
class LoadPanopticSegments(BaseTransform):
    """Read a panoptic PNG into ``gt_seg_map``: segment ``i`` of ``segments_info`` has the value ``256 + i``.

    mmcv's and mmseg's transforms of label maps (resize, crop, flip, pad) then move it along with the picture;
    :class:`PackPanopticInputs` takes it apart. For tests it stands after the resizing, so that scores are taken at the
    picture's own size.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``gt_seg_map`` (int32, (H, W)).

        Raises:
            UnreadableFileError: If the file is missing or no colour picture.
        """
        path = Path(results['seg_map_path'])
        try:
            with Image.open(path) as image:
                colours = np.asarray(image.convert('RGB'))
        except OSError as error:
            raise UnreadableFileError(f'{path}: cannot be read ({error})') from error
        found, inverse = np.unique(rgb_to_ids(colours), return_inverse=True)
        place = {segment['id']: number for number, segment in enumerate(results['segments_info'], start=FIRST_NUMBER)}
        numbers = np.array([place.get(int(i), IGNORED) for i in found], dtype=np.int32)
        results['gt_seg_map'] = numbers[inverse.reshape(colours.shape[:2])]
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


@TRANSFORMS.register_module()
class PackPanopticInputs(PackSegInputs):
    """Pack picture and truth for query-based models.

    The data sample gets ``gt_panoptic_seg`` (``data``: segment of each pixel, int32 (1, H, W), 0 = void; metainfo
    ``segments_info`` with ``id``, ``category_id``, ``iscrowd``, ``area``), ``gt_sem_seg`` (255 = void or crowd) and, if
    asked for, ``gt_instances`` (``labels``, ``masks`` of all segments, things and stuff, without crowds).

    Args:
        with_instances: Make ``gt_instances``, for training.
        meta_keys: Entries to keep as meta information.
    """

    def __init__(
        self,
        with_instances: bool = False,
        meta_keys: Sequence[str] = (
            'img_id', 'img_path', 'seg_map_path', 'ori_shape', 'img_shape', 'pad_shape', 'scale_factor', 'flip',
            'flip_direction', 'reduce_zero_label',
        ),
    ) -> None:  # fmt: skip
        super().__init__(meta_keys=meta_keys)
        self.with_instances = with_instances

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack; see :class:`mmseg.datasets.PackSegInputs` for the picture."""
        numbers = results.pop('gt_seg_map', None)
        packed = super().transform(results)
        if numbers is None:
            return packed
        sample = packed['data_samples']
        segments = [{**s, 'id': i} for i, s in enumerate(results['segments_info'], start=1)]
        ids = np.maximum(numbers.astype(np.int32) - (FIRST_NUMBER - 1), 0)
        labels = np.array([IGNORED, *(IGNORED if s['iscrowd'] else s['category_id'] for s in segments)], dtype=np.int64)
        sample.gt_panoptic_seg = PixelData(metainfo={'segments_info': segments}, data=torch.from_numpy(ids)[None])
        sample.gt_sem_seg = PixelData(data=torch.from_numpy(labels[ids])[None])
        if self.with_instances:
            classes, masks = segment_targets(sample)
            sample.gt_instances = InstanceData(labels=classes, masks=masks)
        return packed

    def __repr__(self) -> str:
        return f'{type(self).__name__}(with_instances={self.with_instances}, meta_keys={self.meta_keys})'
