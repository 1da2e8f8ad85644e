"""Connected anomalous regions of masks, 8-connected as for MVTec AD, by scikit-image's default and in anomalib."""

from __future__ import annotations

import cv2
import numpy as np


def label_regions(masks: np.ndarray) -> np.ndarray:
    """Number the regions of a batch of masks; regions of different masks never join.

    Args:
        masks: Anywhere non-zero is anomalous, shape (N, H, W).

    Returns:
        0 outside, 1, 2, ... through the whole batch, int32, shape (N, H, W).
    """
    labels = np.zeros(masks.shape, dtype=np.int32)
    total = 0
    for mask, target in zip(masks, labels, strict=True):
        binary = (mask != 0).astype(np.uint8)
        count, found = cv2.connectedComponents(binary, connectivity=8, ltype=cv2.CV_32S)
        np.add(found, total, out=target, where=binary != 0)
        total += count - 1
    return labels


def region_weights(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """One over the area of the region of each anomalous pixel, so that every region sums to one.

    Args:
        mask: Anywhere non-zero is anomalous, shape (H, W).

    Returns:
        float64 weights of the anomalous pixels in row order, shape (P,), and the number of regions.
    """
    if not mask.any():
        return np.zeros(0), 0
    labels = label_regions(mask[None])[0]
    inside = labels[mask != 0]
    areas = np.bincount(inside, minlength=1)
    return 1.0 / areas[inside], len(areas) - 1
