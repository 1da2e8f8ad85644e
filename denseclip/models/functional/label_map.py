"""Label maps of big vocabularies, without ever holding a ``K x H x W`` tensor.

A segmentor upsamples ``K`` low-resolution score planes to the size of the picture and keeps, for every pixel, the
index of the largest one. Done in one piece this needs ``4 K H W`` bytes twice (1.85 GB for ADE20K-847 at 640 x 854).
Here the classes pass through the same bilinear resizes a few at a time, and a running maximum keeps the winner, so that
memory does not grow with ``K`` beyond the low-resolution scores themselves.

The result is *equal* to ``argmax(resize(resize(logits)))``, ties included (lowest index first, as ``torch.argmax``).
Bilinear resizing treats every channel alike, but PyTorch picks another CPU kernel, with other rounding, for fewer than
four channels and for small outputs; the chunks are cut so that each class meets the kernel of the complete computation.
Only pictures so large that four planes exceed half a gigabyte (about 30 megapixels) are also cut into bands of rows,
whose vertical interpolation is written out here; it repeats the fused kernel of x86 builds and may differ in the last
bit elsewhere.

Scores must not be NaN, for which no winner is defined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from denseclip.core.placement import Box, Size, Windows, resize

DEFAULT_BUDGET = 16 * 2**20
"""Bytes of one chunk of planes: small enough to stay in a CPU's cache, which is also the fastest choice."""

# PyTorch's CPU kernels: fewer than 4 channels take another one; outputs with H + W <= 128 (and sources of one
# pixel) a channels-last one that works on vectors of channels and rounds the remainder differently, so chunks must be
# multiples of a vector there.
_MIN_CHANNELS = 4
_SMALL_KERNEL = 128
_LANES = 32


def label_dtype(num_classes: int) -> torch.dtype:
    """Smallest integer type for labels ``0 .. K-1`` that leaves 255 free for "ignore" in the 8-bit case.

    Args:
        num_classes: ``K``.

    Returns:
        ``uint8`` for ``K <= 255``, ``int16`` for ``K <= 32767``, else ``int32``.
    """
    if num_classes <= 255:
        return torch.uint8
    return torch.int16 if num_classes <= 32767 else torch.int32


def chunked_label_map(
    logits: Tensor,
    sizes: Sequence[Size],
    chunk: int | None = None,
    *,
    valid: Box | None = None,
    budget: int = DEFAULT_BUDGET,
    classes: Tensor | None = None,
) -> Tensor:
    """Label map of one picture after successive bilinear resizes (``align_corners=False``) of its scores.

    Args:
        logits: scores of one picture.
        sizes: the sizes passed through, in order; the last one is the size of the result. May be empty.
        chunk: classes handled at a time; by default as many as fit ``budget``. At least four are taken.
        valid: ``(top, bottom, left, right)`` of the part to keep before the last resize (without the padding).
        budget: bytes that one chunk of resized planes may take.
        classes: the classes that take part, (C,) of int64, taken chunk by chunk without a copy of all; by default all.

    Returns:
        The index of the largest score per pixel (its place in ``classes``), in :func:`label_dtype`.

    Raises:
        ValueError: if ``logits`` is not ``K x h x w``, is empty, or ``valid`` leaves nothing.

    Shape:
        logits ``(K, h, w)``; result ``sizes[-1]``.
    """
    _check_logits(logits)
    planes, path = logits.contiguous(), [_size(size) for size in sizes]
    start_size = _size(logits.shape)
    out_size = path[-1] if path else _valid_size(start_size, valid)

    def source(start: int, stop: int) -> Tensor:
        part = _chosen(planes, classes, start, stop)
        for size in path[:-1]:
            part = resize(part, size)
        return _crop(part, valid)

    total = len(planes if classes is None else classes)
    return _running_argmax(source, planes, total, out_size, path or [start_size], chunk, budget)


def slide_label_map(
    window_logits: Sequence[Tensor],
    boxes: Sequence[Box],
    img_size: Size,
    out_size: Size | None = None,
    chunk: int | None = None,
    *,
    valid: Box | None = None,
    budget: int = DEFAULT_BUDGET,
    classes: Tensor | None = None,
) -> Tensor:
    """Label map of sliding-window inference: mean of overlapping windows, then one resize to the picture's size.

    Equal to MMSegmentation's ``slide_inference`` and ``postprocess_result``: every window is resized to its box, summed
    in order, divided by the number of windows over each pixel, cut to the unpadded part, and resized.

    Args:
        window_logits: scores of the windows at the resolution of the head.
        boxes: ``(top, bottom, left, right)`` of each window in the network's input.
        img_size: size of the network's input.
        out_size: size of the result; by default that of the unpadded input.
        chunk: classes handled at a time; by default as many as fit ``budget``. At least four are taken.
        valid: ``(top, bottom, left, right)`` of the input without padding.
        budget: bytes that one chunk of resized planes may take.
        classes: as for :func:`chunked_label_map`.

    Returns:
        The index of the largest score per pixel (its place in ``classes``), in :func:`label_dtype`.

    Raises:
        ValueError: if the numbers of windows and boxes differ, or a part of the input is in no window.

    Shape:
        window_logits ``(K, h_i, w_i)`` each; result ``out_size``.
    """
    if len(window_logits) != len(boxes) or not boxes:
        raise ValueError(f'{len(window_logits)} windows of scores but {len(boxes)} boxes; give one box per window.')
    for logits in window_logits:
        _check_logits(logits)
    img_size = _size(img_size)
    final = _valid_size(img_size, valid) if out_size is None else _size(out_size)
    if [tuple(box) for box in boxes] == [(0, img_size[0], 0, img_size[1])]:
        # Small pictures: there is nothing to add up, and a mean over one window changes no number.
        path = [img_size, final]
        return chunked_label_map(window_logits[0], path, chunk, valid=valid, budget=budget, classes=classes)
    windows = [w.contiguous() for w in window_logits]
    grid = Windows(boxes, img_size)

    def source(start: int, stop: int) -> Tensor:
        return _crop(grid.mean(_chosen(logits, classes, start, stop) for logits in windows), valid)

    path = [img_size, final, *((bottom - top, right - left) for top, bottom, left, right in boxes)]
    total = len(windows[0] if classes is None else classes)
    return _running_argmax(source, windows[0], total, final, path, chunk, budget)


def _chosen(planes: Tensor, classes: Tensor | None, start: int, stop: int) -> Tensor:
    return planes[start:stop] if classes is None else planes.index_select(0, classes[start:stop])


def _running_argmax(
    source: Callable[[int, int], Tensor],
    like: Tensor,
    num_classes: int,
    out_size: Size,
    path: Sequence[Size],
    chunk: int | None,
    budget: int,
) -> Tensor:
    """Argmax over the classes of ``source(start, stop)`` resized to ``out_size``, by class chunks and row bands.

    ``like`` has the type and the device of the scores; ``path`` lists the sizes resized to.
    """
    height, width = out_size
    largest = max(h * w for h, w in path) * like.element_size()
    chunk = max(chunk or budget // largest, _MIN_CHANNELS)
    if any(h + w <= _SMALL_KERNEL for h, w in path) or like.shape[1:].numel() == 1:
        chunk = -(-chunk // _LANES) * _LANES
    rows = _band_rows(budget, min(chunk, num_classes), out_size, like.element_size())
    labels = torch.zeros(out_size, dtype=label_dtype(num_classes), device=like.device)
    for top in range(0, height, rows):
        band = labels[top : top + rows]
        best = like.new_full((band.shape[0], width), -torch.inf)
        wins = torch.empty_like(best, dtype=torch.bool)
        for start, stop in _spans(num_classes, chunk):
            part = _resize_rows(source(start, stop), out_size, top, top + band.shape[0])
            for offset, plane in enumerate(part):
                torch.gt(plane, best, out=wins)
                torch.maximum(best, plane, out=best)
                band.masked_fill_(wins, start + offset)
            del part, plane  # else these planes would still be held while the next ones are made
    return labels


def _spans(total: int, chunk: int) -> list[tuple[int, int]]:
    """Consecutive spans of ``chunk``; a last one of fewer than four classes joins its neighbour (see module)."""
    starts = list(range(0, total, chunk))
    if len(starts) > 1 and total - starts[-1] < _MIN_CHANNELS:
        starts.pop()
    return list(zip(starts, [*starts[1:], total], strict=True))


def _resize_rows(planes: Tensor, size: Size, top: int, bottom: int) -> Tensor:
    """Rows ``top:bottom`` of ``resize(planes, size)``.

    Columns are interpolated by PyTorch on the few source rows needed (interpolating to the same height leaves rows
    unchanged), rows by the kernel's own formula ``fma(a, 1 - t, round(b t))``, spelled out in float64.
    """
    height, width = size
    if (top, bottom) == (0, height):
        return resize(planes, size)
    in_height, device = planes.shape[-2], planes.device
    scale = np.float64(np.float32(in_height / height))
    position = np.maximum((scale * (np.arange(top, bottom) + 0.5) - 0.5).astype(np.float32), 0)
    low = np.minimum(position.astype(np.int64), in_height - 1)
    high = np.minimum(low + 1, in_height - 1)
    weight = torch.as_tensor(np.clip(position - low, 0, 1).astype(np.float32), device=device)[:, None]
    first, last = int(low[0]), int(high[-1]) + 1
    stripes = resize(planes[:, first:last].contiguous(), (last - first, width))
    upper = stripes[:, torch.as_tensor(low - first, device=device)].double() * (1 - weight).double()
    lower = stripes[:, torch.as_tensor(high - first, device=device)] * weight
    return (upper + lower.double()).to(planes.dtype)


def _crop(planes: Tensor, valid: Box | None) -> Tensor:
    if valid is None:
        return planes
    top, bottom, left, right = valid
    return planes[:, top:bottom, left:right].contiguous()


def _valid_size(size: Size, valid: Box | None) -> Size:
    if valid is None:
        return size
    return _size((min(valid[1], size[0]) - valid[0], min(valid[3], size[1]) - valid[2]))


def _band_rows(budget: int, chunk: int, size: Size, itemsize: int) -> int:
    """Rows per band: all of them while a chunk of planes takes at most 32 budgets, else as many as fit eight."""
    height, width = size
    if chunk * height * width * itemsize <= 32 * budget:
        return height
    # Three float64 temporaries stand beside the result.
    return max(1, 8 * budget // (chunk * width * 24))


def _size(size: Sequence[int]) -> Size:
    height, width = (int(side) for side in size[-2:])
    if height < 1 or width < 1:
        raise ValueError(f'a size must be at least 1x1, got {height}x{width}.')
    return height, width


def _check_logits(logits: Tensor) -> None:
    if logits.ndim != 3 or logits.numel() == 0:
        raise ValueError(f'scores must be a non-empty K x h x w tensor of one picture, got {tuple(logits.shape)}.')
