"""Results as labels of FiftyOne."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from denseclip.apis.results.base import Region, Result


def fiftyone_detections(result: Result) -> Any:
    """See :meth:`Result.to_fiftyone`."""
    try:
        import fiftyone
    except ImportError as error:
        raise ImportError('to_fiftyone() needs the package fiftyone: pip install fiftyone') from error

    size = result.image.shape[:2]
    entries = [detection(region, result.names, (size[0], size[1])) for region in result.regions()]
    return fiftyone.Detections(detections=[fiftyone.Detection(**entry) for entry in entries])


def detection(region: Region, names: Sequence[str], size: tuple[int, int]) -> dict[str, Any]:
    """What a ``Detection`` is made of.

    Args:
        region: What was found.
        names: Of the classes.
        size: Height and width of the picture.

    Returns:
        ``label``, ``bounding_box`` in shares of the picture, and where known ``mask`` (of the box; none where it has no
        pixel), ``confidence`` and ``is_thing``.
    """
    height, width = size
    mask = region.mask if region.mask is not None and region.mask.any() else None  # no pixel: the model's own box
    whole = region if mask is None else Region.of_mask(region.label, region.title, mask)
    x1, y1, x2, y2 = whole.box
    found: dict[str, Any] = {
        'label': names[region.label],
        'bounding_box': [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height],
    }
    if mask is not None:
        found['mask'] = np.ascontiguousarray(mask[int(y1) : int(y2), int(x1) : int(x2)])
    if region.score is not None:
        found['confidence'] = round(float(region.score), 6)
    if region.is_thing is not None:
        found['is_thing'] = region.is_thing
    if region.title != names[region.label]:
        found['title'] = region.title
    return found
