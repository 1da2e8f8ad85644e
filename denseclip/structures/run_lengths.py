"""Masks in COCO's compressed run lengths, with text for their counts, as JSON can hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def coco_masks() -> Any:
    """The module ``pycocotools.mask``, late: exported models run where it is not installed, and few results need it.

    Raises:
        ImportError: Where it is not installed.
    """
    try:
        from pycocotools import mask
    except ImportError as error:
        text = 'masks in run lengths need pycocotools, which is not installed: pip install pycocotools'
        raise ImportError(text) from error
    return mask


def as_text(code: Mapping[str, Any]) -> dict[str, Any]:
    """A code of pycocotools as JSON can hold it: ``size`` (height, width) and ``counts`` as text."""
    counts = code['counts']
    text = counts.decode('ascii') if isinstance(counts, bytes) else counts
    return {'size': [int(side) for side in code['size']], 'counts': text}


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """A mask in COCO's compressed run lengths, which ``pycocotools.mask.decode`` reads.

    Args:
        mask: Bool, shape (H, W).

    Returns:
        ``size`` (height, width) and ``counts`` as text.

    Raises:
        ImportError: Without pycocotools.
    """
    return run_lengths_of_each(mask[None])[0]


def run_lengths_of_each(masks: np.ndarray) -> list[dict[str, Any]]:
    """What :func:`run_lengths` gives for each of several masks.

    Args:
        masks: Bool, shape (N, H, W); N may be 0.

    Raises:
        ImportError: Without pycocotools.
    """
    if not len(masks):
        return []
    return [as_text(code) for code in coco_masks().encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8)))]


def pixels(code: Mapping[str, Any]) -> np.ndarray:
    """The mask of a code, bool (H, W).

    Args:
        code: ``size`` and ``counts``, compressed, as text or bytes.

    Raises:
        ImportError: Without pycocotools.
    """
    return coco_masks().decode(dict(code)).astype(bool)


def run_lengths_of_part(part: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> dict[str, Any]:
    """What :func:`run_lengths` gives for a mask that is empty outside a box, at the cost of the box.

    Args:
        part: The mask inside the box, bool, shape (h, w), with at least one pixel.
        corner: First row and first column of the box.
        size: Height and width of the whole mask, (H, W).

    Raises:
        ImportError: Without pycocotools.
    """
    row, column = corner
    steps = np.diff(part.T.astype(np.int8), axis=1, prepend=0, append=0)  # run lengths go down the columns
    begins, ends = (np.nonzero(steps == sign) for sign in (1, -1))
    first, behind = ((x + column) * size[0] + y + row for x, y in (begins, ends))
    apart = first[1:] != behind[:-1]  # a run to the bottom goes on at the next column's top
    first, behind = first[np.append(True, apart)], behind[np.append(apart, True)]
    turns = np.concatenate([[0], np.stack([first, behind], axis=1).ravel(), [size[0] * size[1]]])
    counts = np.diff(turns)
    counts = counts[:-1] if counts[-1] == 0 else counts
    return as_text(coco_masks().frPyObjects({'size': list(size), 'counts': counts.tolist()}, *size))
