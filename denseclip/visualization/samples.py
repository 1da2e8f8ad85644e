"""One picture of whatever a model says about a photograph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image

from denseclip.visualization.boxes import boxes_picture
from denseclip.visualization.overlay import overlay_picture
from denseclip.visualization.segments import segments_picture

LEAST_SCORE = 0.3
"""Objects below are not drawn."""


def sample_picture(
    image: np.ndarray, sample: Any, names: Sequence[str], palette: np.ndarray, background: int | None = None
) -> Image.Image | None:
    """Draw a result as ``denseclip segment`` and ``denseclip detect`` do.

    Args:
        image: The photograph, RGB, ``uint8``, (H, W, 3).
        sample: Data sample with ``pred_panoptic_seg``, ``pred_instances`` or ``pred_sem_seg``, in the photograph's
            size; where they differ, the photograph follows.
        names: Class names.
        palette: ``K x 3`` RGB, as they are drawn.
        background: Label of what is no class.

    Returns:
        An RGB picture; None if the sample holds nothing of this kind.
    """
    if 'pred_panoptic_seg' in sample:
        found = sample.pred_panoptic_seg
        ids = found.data[0].cpu().numpy()
        info = found.segments_info
        table = np.zeros(max([int(ids.max(initial=0)), *(s['id'] for s in info)]) + 1, dtype=np.int32)
        table[[s['id'] for s in info]] = np.arange(1, len(info) + 1)
        labels = [int(s['category_id']) for s in info]
        return segments_picture(of_size(image, ids.shape), table[ids], labels, names, palette)
    if 'pred_instances' in sample:
        return _draw_objects(image, sample.pred_instances, names, palette)
    if 'pred_sem_seg' in sample:
        labels_map = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()
        return overlay_picture(of_size(image, labels_map.shape), labels_map, names, palette, background=background)
    return None


def _draw_objects(image: np.ndarray, found: Any, names: Sequence[str], palette: np.ndarray) -> Image.Image:
    found = found[found.scores >= LEAST_SCORE]
    masks = found.masks if 'masks' in found else None
    if masks is not None:
        masks = np.asarray(masks.cpu() if hasattr(masks, 'cpu') else masks).astype(bool)
        image = of_size(image, masks.shape[1:]) if len(masks) else image
    boxes, labels, scores = (value.detach().cpu().numpy() for value in (found.bboxes, found.labels, found.scores))
    return boxes_picture(image, boxes, labels, scores, names, palette, masks)


def of_size(image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """The photograph in the size of a result: data sets may keep pictures smaller than the files are."""
    if image.shape[:2] == tuple(size):
        return image
    return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA)
