"""Panoptic truth in pipelines: a map of segment numbers that every transform of a label map moves along."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS
from mmengine.structures import InstanceData, PixelData
from mmseg.datasets.transforms import PackSegInputs

from denseclip.datasets.files import UnreadableFileError, open_picture
from denseclip.recipes import ignored_label
from denseclip.structures.panoptic import ids_of_picture
from denseclip.structures.segment_targets import segment_targets

FIRST_NUMBER = 256
"""Number of the first segment in ``gt_seg_map``; lower values, such as the 255 of padding, are void."""
VOID_NUMBER = 255
"""Number of pixels of no segment in ``gt_seg_map``."""


def read_segment_ids(path: str | Path, listed: Iterable[int]) -> np.ndarray:
    """Segment ids of a panoptic map, int64 (H, W); see :func:`denseclip.structures.panoptic.ids_of_picture`.

    Raises:
        UnreadableFileError: If the file is missing, damaged, or holds neither colours nor ids.
    """
    with open_picture(path) as image:
        try:
            return ids_of_picture(image, listed)
        except ValueError as error:
            raise UnreadableFileError(f'{path}: {error}') from error


@TRANSFORMS.register_module()
class LoadPanopticSegments(BaseTransform):
    """Read a panoptic PNG into ``gt_seg_map``: segment ``i`` of ``segments_info`` has the value ``256 + i``.

    The PNG holds colours, as in COCO's format, or the ids themselves (grey).

    mmcv's and mmseg's transforms of label maps (resize, crop, flip, pad) then move it along with the picture;
    :class:`PackPanopticInputs` takes it apart. For tests it stands after the resizing, so that scores are taken at the
    picture's own size.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``gt_seg_map`` (int32, (H, W)), and count the ``area`` of segments whose file does not say it.

        Raises:
            UnreadableFileError: If the file is missing or holds neither colours nor ids.
        """
        path = results['seg_map_path']
        ids = read_segment_ids(path, [segment['id'] for segment in results['segments_info']])
        found, inverse, counts = np.unique(ids, return_inverse=True, return_counts=True)
        area = dict(zip(found.tolist(), counts.tolist(), strict=True))
        segments = [{**s, 'area': s['area'] or area.get(s['id'], 0)} for s in results['segments_info']]
        results['segments_info'] = segments
        place = {segment['id']: number for number, segment in enumerate(segments, start=FIRST_NUMBER)}
        numbers = np.array([place.get(int(i), VOID_NUMBER) for i in found], dtype=np.int32)
        results['gt_seg_map'] = numbers[inverse.reshape(ids.shape)]
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


@TRANSFORMS.register_module()
class PackPanopticInputs(PackSegInputs):
    """Pack picture and truth for query-based models.

    The data sample gets ``gt_panoptic_seg`` (``data``: segment of each pixel, int32 (1, H, W), 0 = void; metainfo
    ``segments_info`` with ``id``, ``category_id``, ``iscrowd``, ``area``), ``gt_sem_seg`` (void or crowd: 255, or
    65535 beyond 255 classes) and, if asked for, ``gt_instances`` (``labels``, ``masks`` of all
    segments, things and stuff, without crowds).

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
        ignored = results.get('ignored_label', ignored_label(0))  # data sets of the suite say it by their classes
        labels = np.array([ignored, *(ignored if s['iscrowd'] else s['category_id'] for s in segments)], dtype=np.int64)
        sample.gt_panoptic_seg = PixelData(metainfo={'segments_info': segments}, data=torch.from_numpy(ids)[None])
        sample.gt_sem_seg = PixelData(data=torch.from_numpy(labels[ids])[None])
        if self.with_instances:
            classes, masks = segment_targets(sample)
            sample.gt_instances = InstanceData(labels=classes, masks=masks)
        return packed

    def __repr__(self) -> str:
        return f'{type(self).__name__}(with_instances={self.with_instances}, meta_keys={self.meta_keys})'
