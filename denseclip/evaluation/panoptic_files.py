"""Panoptic results as files in COCO's panoptic format: a colour PNG per picture and one JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from denseclip.evaluation.label_files import write_picture
from denseclip.evaluation.panoptic_quality import PanopticFormatError
from denseclip.files.atomic import write_text
from denseclip.files.pixels import open_safely
from denseclip.structures.panoptic import ids_to_rgb, rgb_to_ids


def write_panoptic_png(path: str | Path, ids: np.ndarray) -> None:
    """Write the segment ids of a picture as colours.

    Args:
        path: The file; its folder is made.
        ids: Segment of each pixel, 0 = none.

    Shape:
        ids ``(H, W)``
    """
    write_picture(Image.fromarray(ids_to_rgb(ids)), Path(path))


def read_panoptic_png(path: str | Path) -> np.ndarray:
    """Segment ids of a file of :func:`write_panoptic_png` or of COCO.

    Args:
        path: A colour PNG.

    Returns:
        int64 (H, W).

    Raises:
        FileNotFoundError: If there is none.
        PanopticFormatError: If it is no picture of three colours.
    """
    try:
        with open_safely(path) as image:
            if image.mode not in ('RGB', 'RGBA'):
                raise PanopticFormatError(f'{path}: a panoptic map needs the colours R, G and B, this is {image.mode}.')
            return rgb_to_ids(np.asarray(image)[..., :3])
    except UnidentifiedImageError as error:
        raise PanopticFormatError(f'{path}: this is no picture.') from error


def write_panoptic_json(
    path: str | Path,
    annotations: Sequence[Mapping[str, Any]],
    *,
    images: Sequence[Mapping[str, Any]] = (),
    categories: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write the list of segments of all pictures.

    Args:
        path: The file; its folder is made.
        annotations: ``image_id``, ``file_name`` (of the PNG) and ``segments_info`` of each picture.
        images: ``id``, ``file_name``, ``height``, ``width``; data sets need them, results do not.
        categories: ``id``, ``name``, ``isthing``; as above.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {'annotations': list(annotations)}
    if images:
        content['images'] = list(images)
    if categories:
        content['categories'] = list(categories)
    write_text(path, json.dumps(content))


def read_panoptic_json(path: str | Path) -> dict[str, Any]:
    """The content of a file of :func:`write_panoptic_json` or of COCO.

    Raises:
        FileNotFoundError: If there is none.
        PanopticFormatError: If it holds no list of segments.
    """
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8'))
    except json.JSONDecodeError as error:
        raise PanopticFormatError(f'{path}: this is no JSON file ({error}).') from error
    annotations = content.get('annotations') if isinstance(content, dict) else None
    if not isinstance(annotations, list) or any('segments_info' not in a for a in annotations):
        raise PanopticFormatError(f'{path}: no annotations with segments_info; is this an instances file?')
    return content
