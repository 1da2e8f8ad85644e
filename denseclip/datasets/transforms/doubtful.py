"""Labels that nobody is sure of teach nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS

from denseclip.datasets.files import UnreadableFileError, read_label_map


@TRANSFORMS.register_module()
class IgnoreDoubtful(BaseTransform):
    """Take labels away from pixels whose confidence is low.

    Stands behind ``LoadAnnotations``, before anything that changes the size.

    Source: MaskCLIP (Zhou et al., ECCV 2022), section 3.4, learns from a teacher's labels; to leave out those that it
    is not sure of is usual in self-training.

    Args:
        labels: Folder of the label maps.
        confidences: Folder of grey pictures of their names, 255 for certain.
        least: Least confidence of a pixel that keeps its label, 0..1.
        ignore_index: Label of the others.
    """

    def __init__(self, labels: str, confidences: str, least: float, ignore_index: int = 255) -> None:
        if not 0 <= least <= 1:
            raise ValueError(f'IgnoreDoubtful: least={least} must be between 0 and 1')
        self.labels, self.confidences = Path(os.path.abspath(labels)), Path(os.path.abspath(confidences))  # noqa: PTH100
        self.least = least
        self.ignore_index = ignore_index

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change ``results['gt_seg_map']``, integers (H, W).

        Raises:
            UnreadableFileError: There is no picture of confidences for the label map, or it has another size.
        """
        path = Path(os.path.abspath(results['seg_map_path']))  # noqa: PTH100
        if not path.is_relative_to(self.labels):
            raise UnreadableFileError(f'{path}: does not lie in {self.labels}; say where label maps are with labels=')
        place = self.confidences / path.relative_to(self.labels)
        sure = read_label_map(place)
        labels = results['gt_seg_map']
        if sure.shape != labels.shape:
            raise UnreadableFileError(f'{place}: size {sure.shape} differs from its label map {labels.shape}')
        results['gt_seg_map'] = np.where(sure >= round(self.least * 255), labels, self.ignore_index).astype(
            labels.dtype
        )
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(least={self.least})'
