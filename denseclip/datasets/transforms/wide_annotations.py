"""Loading of label maps whose ids need 16 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS

from denseclip.datasets.files import read_label_map


@TRANSFORMS.register_module()
class LoadWideAnnotations(BaseTransform):
    """Load ``seg_map_path`` (8- or 16-bit PNG or TIFF) with all bits of its ids.

    mmseg's ``LoadAnnotations`` casts to uint8: class 256 becomes class 0 without a word.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``gt_seg_map``, (H, W), uint16.

        Raises:
            ValueError: If the data set counts its classes from 1, which these sets do not.
        """
        if results.get('reduce_zero_label'):
            raise ValueError(f'{results["seg_map_path"]}: LoadWideAnnotations knows no reduce_zero_label')
        labels = read_label_map(results['seg_map_path']).astype(np.uint16)
        mapping = results.get('label_map')
        if mapping is not None:
            table = np.arange(65536, dtype=np.uint16)
            table[list(mapping)] = list(mapping.values())
            labels = table[labels]
        results['gt_seg_map'] = labels
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results
