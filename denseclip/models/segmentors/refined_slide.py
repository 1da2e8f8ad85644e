"""Sliding windows only where they are needed: a pass of the whole picture, then the windows that see what it does not.

Neighbouring windows say much the same: most of what the mean of overlapping ones is worth comes from a second look at
another size, which a pass of the whole picture at half size gives for less.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.core.placement import Box, Size, resize, size_of

from .score_maps import ScoreMaps


@dataclass(frozen=True)
class Refine:
    """Settings of ``test_cfg.refine``.

    Attributes:
        budget: Largest share of the pixels of all windows that are read, 0..1, passes of the whole picture included,
            which are always run; 1 is plain sliding, 0 those passes alone. Of windows that overlap by half, the
            default runs as many as cover the picture once, beside a pass at half size.
        margin: A place is uncertain if the probabilities of its two best classes are nearer than this, 0..1.
        share: Windows with less than this share of uncertain places are not run, 0..1.
        scales: Sizes at which the picture is run as a whole, each above 0 and at most 1, relative to the input of the
            windows.
    """

    budget: float = 0.56
    margin: float = 0.5
    share: float = 0.0
    scales: tuple[float, ...] = (0.5,)

    def __post_init__(self) -> None:
        for name in ('budget', 'margin', 'share'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'test_cfg.refine.{name}={getattr(self, name)} must be between 0 and 1.')
        scales = self.scales
        if not isinstance(scales, Sequence) or not scales or not all(0 < scale <= 1 for scale in scales):
            raise ValueError(
                f'test_cfg.refine.scales={scales} must be a list of numbers above 0 and at most 1, as in (1.0, 0.5).'
            )

    @classmethod
    def of(cls, given: Any) -> Refine | None:
        """From a config; None: windows are all run.

        Raises:
            ValueError: If a key is unknown or a number out of range.
        """
        if given is None or isinstance(given, Refine):
            return given
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(given) - set(known)) if isinstance(given, Mapping) else [str(given)]
        if unknown:
            raise ValueError(f'test_cfg.refine knows no {", ".join(unknown)}; it takes {", ".join(known)}.')
        return cls(**given)


@dataclass(frozen=True)
class Refinement:
    """What refining did to a picture.

    Attributes:
        windows: Windows that plain sliding runs.
        run: Those that were run.
        changed: Share of the places in these whose best class is not that of the whole picture's passes, 0..1.
    """

    windows: int
    run: int
    changed: float

    def meta(self) -> dict[str, dict[str, float]]:
        """For a data sample's meta information."""
        return {'refinement': {'windows': self.windows, 'run': self.run, 'changed': self.changed}}


def refined_maps(
    image: Tensor,
    boxes: Sequence[Box],
    refine: Refine,
    run: Callable[[Tensor], Tensor],
    batch: int = 1,
    multiple: Size = (1, 1),
) -> tuple[ScoreMaps, Refinement]:
    """Scores of a picture whose windows are run only in part.

    A place gets the mean of all that saw it: the windows that were run, and the passes of the whole picture, which
    count as much less as they are smaller.

    Args:
        image: A preprocessed picture.
        boxes: All windows.
        refine: Which of them are run.
        run: Scores (N, K, h, w) of pictures, in units of a softmax.
        batch: Windows that are run at once.
        multiple: Height and width of the whole picture are resized to the nearest multiples of these.

    Returns:
        One map of the whole picture, as fine as the finest of them, and what was done.

    Shape:
        - image: :math:`(1, 3, H, W)`
    """
    size = size_of(image)
    small = [_scaled(size, scale, multiple) for scale in refine.scales]
    passes = [run(resize(image, one))[0] for one in small]
    whole = _mean_of(passes, refine.scales, max((size_of(scores) for scores in passes), key=math.prod))
    pixels = sum((bottom - top) * (right - left) for top, bottom, left, right in boxes)
    rest = refine.budget - sum(map(math.prod, small)) / pixels
    chosen = [boxes[i] for i in _choose(whole, boxes, size, refine, math.floor(rest * len(boxes) + 1e-9))]
    if not chosen:
        return ScoreMaps([whole], None), Refinement(len(boxes), 0, 0.0)
    windows: list[Tensor] = []
    for start in range(0, len(chosen), batch):
        some = chosen[start : start + batch]
        windows += run(torch.cat([image[:, :, top:bottom, left:right] for top, bottom, left, right in some]))
    shape = _finest(whole, windows[0], chosen[0], size)
    whole, weight = _mean_of(passes, refine.scales, shape), sum(refine.scales)
    total, count = whole * weight, whole.new_full((1, *shape), weight)
    for box, scores in zip(chosen, windows, strict=True):
        rows, columns = _inside(box, size, shape)
        total[:, rows, columns] += _seen_at(scores, box, size, shape)
        count[:, rows, columns] += 1
    mean, seen = total / count, count[0] > weight
    changed = (mean.argmax(dim=0) != whole.argmax(dim=0))[seen].float().mean()
    return ScoreMaps([mean], None), Refinement(len(boxes), len(chosen), float(changed))


def _mean_of(passes: Sequence[Tensor], weights: Sequence[float], shape: Size) -> Tensor:
    """Weighted mean of maps of the whole picture, (K, *shape)."""
    if len(passes) == 1:
        return resize(passes[0], shape)
    parts = [resize(scores, shape) * weight for scores, weight in zip(passes, weights, strict=True)]
    return torch.stack(parts).sum(dim=0) / sum(weights)


def _finest(whole: Tensor, window: Tensor, box: Box, size: Size) -> Size:
    """Size of a map of the whole picture whose places are as near to each other as those of a window."""
    sides = zip(size_of(whole), size_of(window), size, (box[1] - box[0], box[3] - box[2]), strict=True)
    height, width = (max(own, round(places * length / part)) for own, places, length, part in sides)
    return height, width


def _scaled(size: Size, scale: float, multiple: Size) -> Size:
    height, width = (max(step, round(side * scale / step) * step) for side, step in zip(size, multiple, strict=True))
    return height, width


def _choose(scores: Tensor, boxes: Sequence[Box], size: Size, refine: Refine, most: int) -> list[int]:
    """Windows to run, in their order, ``most`` at most: those that cover the picture, then the others.

    Both begin with the most uncertain ones.
    """
    if most < 1 or scores.shape[0] < 2:
        return []
    best = scores.float().softmax(dim=0).topk(2, dim=0).values
    unsure = (best[0] - best[1] < refine.margin).float()
    areas = [_inside(box, size, size_of(unsure)) for box in boxes]
    able = {i for i, area in enumerate(areas) if float(unsure[area].mean()) >= max(refine.share, 1e-9)}
    first = _cover(boxes)
    chosen: list[int] = []
    while able and len(chosen) < most:
        # A place that was looked at once counts a quarter, and so on: windows spread before they overlap.
        gains = {i: float(unsure[areas[i]].sum()) for i in sorted(able & first or able)}
        best_one = max(gains, key=gains.__getitem__)
        able.discard(best_one)
        chosen.append(best_one)
        unsure[areas[best_one]] /= 4
    return sorted(chosen)


def _cover(boxes: Sequence[Box]) -> set[int]:
    """Numbers of the fewest windows of a grid that cover all of it."""
    rows = _cover_line(sorted({(top, bottom) for top, bottom, _, _ in boxes}))
    columns = _cover_line(sorted({(left, right) for _, _, left, right in boxes}))
    return {i for i, box in enumerate(boxes) if box[:2] in rows and box[2:] in columns}


def _cover_line(spans: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """The fewest of the spans that cover what all of them do: each time the one that reaches farthest."""
    taken: set[tuple[int, int]] = set()
    reached = spans[0][0]
    while reached < spans[-1][1]:
        best = max((span for span in spans if span[0] <= reached), key=lambda span: span[1])
        taken.add(best)
        reached = best[1]
    return taken


def _inside(box: Box, size: Size, shape: Size) -> tuple[slice, slice]:
    """Rows and columns of a map of the whole picture whose centres lie in a window; one of each at least."""
    spans = []
    for first, last, length, places in ((*box[:2], size[0], shape[0]), (*box[2:], size[1], shape[1])):
        start, stop = (math.ceil(edge * places / length - 0.5) for edge in (first, last))
        start = min(start, places - 1)
        spans.append(slice(start, max(stop, start + 1)))
    return spans[0], spans[1]


def _seen_at(scores: Tensor, box: Box, size: Size, shape: Size) -> Tensor:
    """Scores (K, h, w) of a window at the places of a map of the whole picture that lie in it."""
    sides = zip(size, shape, (box[0], box[2]), (box[1], box[3]), size_of(scores), strict=True)
    if all(
        own * length == places * (end - first) and first * places % length == 0
        for length, places, first, end, own in sides
    ):
        return scores  # the same places
    axes = []
    for span, length, places, first, last in zip(
        _inside(box, size, shape), size, shape, (box[0], box[2]), (box[1], box[3]), strict=True
    ):
        centres = (torch.arange(span.start, span.stop, device=scores.device) + 0.5) * (length / places)
        axes.append(2 * (centres - first) / (last - first) - 1)
    y, x = torch.meshgrid(*axes, indexing='ij')
    grid = torch.stack([x, y], dim=-1)[None]
    seen = F.grid_sample(scores[None].float(), grid, mode='bilinear', padding_mode='border', align_corners=False)
    return seen[0].to(scores.dtype)
