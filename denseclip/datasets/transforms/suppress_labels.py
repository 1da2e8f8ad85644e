"""Hide labels from training, so that pseudo-labels take their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS

UNLABELLED_ID = -1
"""Id of a pixel that is to get a pseudo-label."""


@TRANSFORMS.register_module()
class SuppressLabels(BaseTransform):
    """Set label ids to -1, which MaskCLIP+ replaces by pseudo-labels. Stands after ``LoadAnnotations``.

    Source: MaskCLIP (Zhou et al., ECCV 2022), section 4: all labels in the annotation-free setting, those of the
    unseen classes in the zero-shot setting.

    Args:
        labels: Ids to hide; None hides all, the ignored id included (annotation-free).
    """

    def __init__(self, labels: Sequence[int] | None = None) -> None:
        self.labels = None if labels is None else tuple(labels)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change ``results['gt_seg_map']``, an integer array (H, W), to int16, the smallest type that cv2 resizes.

        Where that cannot hold the labels (65535 of 16-bit label maps), to int32.
        """
        given = results['gt_seg_map']
        labels = given.astype(np.int16 if given.max(initial=0) <= np.iinfo(np.int16).max else np.int32)
        hidden = np.ones_like(labels, dtype=bool) if self.labels is None else np.isin(labels, self.labels)
        labels[hidden] = UNLABELLED_ID
        results['gt_seg_map'] = labels
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(labels={self.labels})'
