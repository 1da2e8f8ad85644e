"""Boundary IoU of label maps: how well edges lie, where the insides of large areas no longer decide.

Source: "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation" (Cheng et al., CVPR 2021).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from mmengine.registry import METRICS
from torch import Tensor

from denseclip.evaluation.picture_metric import Job, PictureMetric
from denseclip.recipes import ignored_label

RATIO = 0.02
"""Width of the band along edges, as a part of the picture's diagonal: the paper's."""


def band_width(size: tuple[int, int], ratio: float = RATIO) -> int:
    """Pixels from an edge that belong to its band; at least one."""
    return max(1, round(ratio * math.hypot(*size)))


def boundary_band(labels: np.ndarray, width: int) -> np.ndarray:
    """Pixels at most ``width`` from another label or from outside the picture.

    That is each class's mask without what is left of it after ``width`` erosions by 3 x 3, for all classes at once.

    Shape:
        - labels: ``H x W``; result: ``H x W``, bool
    """
    import cv2

    side = 2 * width + 1
    kernel = np.ones((side, side), np.uint8)
    numbers: Any = labels.astype(np.uint8 if labels.max(initial=0) < 256 else np.uint16)
    band = cv2.dilate(numbers, kernel) != cv2.erode(numbers, kernel)
    height, width_of_all = labels.shape
    inside = np.zeros_like(band)
    inside[width : max(height - width, width), width : max(width_of_all - width, width)] = True
    return band | ~inside


def boundary_counts(
    prediction: np.ndarray, truth: np.ndarray, num_classes: int, ignore_index: int = 255, ratio: float = RATIO
) -> np.ndarray:
    """Pixels of each class in the bands of both maps, of the truth, and of the prediction.

    An ignored region is another label to the band of the truth; its pixels count nowhere.

    Args:
        prediction: Classes.
        truth: Classes and ``ignore_index``.
        num_classes: K.
        ignore_index: Label of ignored pixels.
        ratio: See :func:`band_width`.

    Shape:
        - prediction and truth: ``H x W``; result: ``3 x K``, int64

    Raises:
        ValueError: If the shapes differ.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f'prediction {prediction.shape} and truth {truth.shape} differ in shape')
    width = band_width((truth.shape[0], truth.shape[1]), ratio)
    scored = (truth != ignore_index) & (truth < num_classes)
    of_truth = boundary_band(truth, width) & scored
    of_prediction = boundary_band(prediction, width) & scored & (prediction < num_classes)
    both = of_truth & of_prediction & (prediction == truth)
    parts = (truth[both], truth[of_truth], prediction[of_prediction])
    return np.stack([np.bincount(part.ravel().astype(np.int64), minlength=num_classes) for part in parts])


def boundary_ious(counts: np.ndarray) -> np.ndarray:
    """Boundary IoU of each class in percent, NaN for classes that the truth never has.

    Args:
        counts: Sum of :func:`boundary_counts` over pictures.

    Shape:
        - counts: ``3 x K``; result: ``K``
    """
    both, truth, prediction = counts.astype(np.float64)
    return np.where(truth > 0, 100 * both / np.maximum(truth + prediction - both, 1), np.nan)


def mean_boundary_iou(counts: np.ndarray) -> float:
    """Mean over the classes of the truth, in percent; NaN without any."""
    found = boundary_ious(counts)
    there = ~np.isnan(found)
    return float(found[there].mean()) if there.any() else float('nan')


@METRICS.register_module()
class BoundaryIoUMetric(PictureMetric):
    """Boundary IoU over a set, beside a metric of whole areas: ``mBIoU``, the mean over the classes of the truth.

    Pixels of the bands are counted over all pictures before anything is divided, as for mIoU; three numbers for each
    class are kept, and travel between processes.

    Args:
        ratio: Width of the band along edges, as a part of the picture's diagonal.
        ignore_index: Label of ignored pixels; default: 65535 beyond 255 classes, else 255.
        collect_device: See :class:`mmengine.evaluator.BaseMetric`.
        prefix: See there.

    Raises:
        ValueError: If the ratio is not between 0 and 1.
    """

    default_prefix = None

    def __init__(
        self,
        ratio: float = RATIO,
        ignore_index: int | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not 0 < ratio < 1:
            raise ValueError(f'BoundaryIoUMetric: ratio={ratio} must be between 0 and 1, such as {RATIO}.')
        self.ratio, self.ignore_index = ratio, ignore_index

    def job(self, sample: Mapping[str, Any]) -> Job:
        """Count a picture; one without labels counts nothing.

        Args:
            sample: Data sample as a dict with ``pred_sem_seg`` and ``gt_sem_seg``.
        """
        count = len((self.dataset_meta or {})['classes'])
        if 'gt_sem_seg' not in sample:
            return partial(np.zeros, (3, count), np.int64)
        ignored = ignored_label(count) if self.ignore_index is None else self.ignore_index
        guess, truth = (sample[key]['data'] for key in ('pred_sem_seg', 'gt_sem_seg'))
        return lambda: boundary_counts(_plane(guess), _plane(truth), count, ignored, self.ratio)

    def fold(self, results: list[np.ndarray]) -> list[np.ndarray]:
        """One sum of all counts."""
        return [np.sum(results, axis=0)] if results else []

    def compute_metrics(self, results: list[np.ndarray]) -> dict[str, float]:
        """Score of all pictures; none where no picture has labels."""
        total = np.sum(results, axis=0)
        return {'mBIoU': round(mean_boundary_iou(total), 2)} if total[1].any() else {}


def _plane(data: Tensor) -> np.ndarray:
    return data.squeeze(0).cpu().numpy()
