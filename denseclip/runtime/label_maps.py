"""Label maps from the scores of windows: resized, added up, cut, resized again; the largest wins.

Resizing is linear and treats rows and columns apart, so that all of it is one matrix per axis and window. Rows are made
in bands: memory does not grow with classes x picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from denseclip.runtime.resizing import Size, bilinear_matrix

Box = tuple[int, int, int, int]
"""``(top, bottom, left, right)``, ends exclusive."""
_NUMBERS = 2**22
"""Scores that a band may hold."""
_COLUMNS = 64


def label_type(count: int) -> type[np.integer]:
    """Smallest integer type for labels ``0 .. count - 1``; 255 stays free for "ignore"."""
    if count <= 255:
        return np.uint8
    return np.int16 if count <= 32767 else np.int32


def window_boxes(size: Size, crop: Size | None, stride: Size | None) -> list[Box]:
    """Windows as MMSegmentation places them: the last row and column are anchored at the border.

    Args:
        size: Height and width of the network's input.
        crop: Height and width of a window; None: one window for everything.
        stride: Vertical and horizontal step.
    """
    if crop is None or stride is None:
        return [(0, size[0], 0, size[1])]

    def spans(length: int, window: int, step: int) -> list[tuple[int, int]]:
        count = max(length - window + step - 1, 0) // step + 1
        ends = [min(i * step + window, length) for i in range(count)]
        return [(max(end - window, 0), end) for end in ends]

    rows, columns = spans(size[0], crop[0], stride[0]), spans(size[1], crop[1], stride[1])
    return [(top, bottom, left, right) for top, bottom in rows for left, right in columns]


def best_class(scores: np.ndarray) -> np.ndarray:
    """The class of the largest score, the first of equals, (K, h, w) to (h, w)."""
    return scores.argmax(axis=0)


def label_map(
    scores: Sequence[np.ndarray],
    boxes: Sequence[Box],
    size: Size,
    valid: Box,
    out: Size,
    decide: Callable[[np.ndarray], np.ndarray] = best_class,
    count: int | None = None,
) -> np.ndarray:
    """Label map of a picture.

    Args:
        scores: Of each window, at the resolution of the network's output.
        boxes: Where the windows lie in the network's input; together they cover it.
        size: Height and width of the network's input.
        valid: The part of it without padding.
        out: Height and width of the result.
        decide: Makes labels (h, w) of scores (K, h, w).
        count: Number of labels; None: K.

    Shape:
        - scores: :math:`(K, h, w)` each; result: ``out``
    """
    labels = np.empty(out, dtype=label_type(count or scores[0].shape[0]))
    for band, block, part in _blocks(scores, boxes, size, valid, out):
        labels[band, block] = decide(part)
    return labels


def full_scores(scores: Sequence[np.ndarray], boxes: Sequence[Box], size: Size, valid: Box, out: Size) -> np.ndarray:
    """Scores of all classes in the picture's size, (K, H, W) float32; arguments as of :func:`label_map`."""
    found = np.empty((scores[0].shape[0], *out), dtype=np.float32)
    for band, block, part in _blocks(scores, boxes, size, valid, out):
        found[:, band, block] = part
    return found


def _blocks(
    scores: Sequence[np.ndarray], boxes: Sequence[Box], size: Size, valid: Box, out: Size
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Rows, columns and scores (K, h, w) of parts of the result."""
    count = scores[0].shape[0]
    rows = np.bincount(np.concatenate([np.arange(t, b) for t, b in {box[:2] for box in boxes}]), minlength=size[0])
    columns = np.bincount(np.concatenate([np.arange(a, b) for a, b in {box[2:] for box in boxes}]), minlength=size[1])
    down = [_axis(s.shape[1], box[:2], rows, valid[:2], out[0]) for s, box in zip(scores, boxes, strict=True)]
    across = [_axis(s.shape[2], box[2:], columns, valid[2:], out[1]) for s, box in zip(scores, boxes, strict=True)]
    step = max(1, _NUMBERS // (count * max(out[1], max(s.shape[2] for s in scores))))
    for top in range(0, out[0], step):
        band = slice(top, min(top + step, out[0]))
        strips = [_product(part[band], s, 1) for part, s in zip(down, scores, strict=True)]
        for left in range(0, out[1], _COLUMNS):
            block = slice(left, left + _COLUMNS)
            parts = [_product(part[block], s, 2) for part, s in zip(across, strips, strict=True) if s is not None]
            yield band, block, np.sum([part for part in parts if part is not None], axis=0)


def _product(weights: np.ndarray, scores: np.ndarray, axis: int) -> np.ndarray | None:
    """Scores (K, h, w) resized along an axis; None where none of them has a part in it."""
    near = np.flatnonzero(weights.any(axis=0))
    if not len(near):
        return None
    used = slice(near[0], near[-1] + 1)
    return weights[:, used] @ scores[:, used] if axis == 1 else scores[:, :, used] @ weights[:, used].T


def _axis(length: int, span: tuple[int, int], windows: np.ndarray, valid: tuple[int, int], out: int) -> np.ndarray:
    """How the scores of a window become scores of pixels along one axis, (out, length), float32."""
    whole = np.zeros((len(windows), length))
    whole[span[0] : span[1]] = bilinear_matrix(length, span[1] - span[0])
    mean = (whole / windows[:, None])[valid[0] : valid[1]]
    return (mean if len(mean) == out else bilinear_matrix(len(mean), out) @ mean).astype(np.float32)
