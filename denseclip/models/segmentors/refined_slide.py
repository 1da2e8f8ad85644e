"""Sliding windows only where they are needed: the whole picture once, then the windows in which it was not sure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.core.placement import Box, resize, size_of

from .score_maps import ScoreMaps


@dataclass(frozen=True)
class Refine:
    """Settings of ``test_cfg.refine``.

    Attributes:
        budget: Largest share of the windows that are run, 0..1; 1 is plain sliding, 0 the whole picture alone.
        margin: A place is uncertain if the probabilities of its two best classes are nearer than this, 0..1.
        share: Windows with less than this share of uncertain places are not run, 0..1.
        scale: Size of the picture, when it is run as a whole, relative to the input of the windows.
    """

    budget: float = 0.5
    margin: float = 0.5
    share: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ('budget', 'margin', 'share'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'test_cfg.refine.{name}={getattr(self, name)} must be between 0 and 1.')
        if not 0 < self.scale <= 1:
            raise ValueError(f'test_cfg.refine.scale={self.scale} must be above 0 and at most 1.')

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
        changed: Share of the places in these whose best class is not that of the whole picture's pass, 0..1.
    """

    windows: int
    run: int
    changed: float

    def meta(self) -> dict[str, dict[str, float]]:
        """For a data sample's meta information."""
        return {'refinement': {'windows': self.windows, 'run': self.run, 'changed': self.changed}}


def refined_maps(
    image: Tensor, boxes: Sequence[Box], refine: Refine, run: Callable[[Tensor], Tensor], batch: int = 1
) -> tuple[ScoreMaps, Refinement]:
    """Scores of a picture whose windows are run only in part.

    Pixels get the mean of the windows over them that were run, and where there is none, what the pass of the whole
    picture says. Windows that are not run are filled with this, so that everything after works as for plain sliding.

    Args:
        image: A preprocessed picture.
        boxes: All windows.
        refine: Which of them are run.
        run: Scores (N, K, h, w) of pictures, in units of a softmax.
        batch: Windows that are run at once.

    Shape:
        - image: :math:`(1, 3, H, W)`
    """
    size = size_of(image)
    small = (max(1, round(size[0] * refine.scale)), max(1, round(size[1] * refine.scale)))
    whole = run(resize(image, small))
    chosen = _choose(whole[0], boxes, size, refine)
    if not chosen:
        return ScoreMaps([whole[0]], [(0, size[0], 0, size[1])]), Refinement(len(boxes), 0, 0.0)
    found: dict[int, Tensor] = {}
    for start in range(0, len(chosen), batch):
        some = chosen[start : start + batch]
        windows = torch.cat([image[:, :, boxes[i][0] : boxes[i][1], boxes[i][2] : boxes[i][3]] for i in some])
        found.update(zip(some, run(windows), strict=True))
    shape = size_of(found[chosen[0]])
    everything = (0, size[0], 0, size[1])
    seen = [_seen_through(whole[0], everything, box, shape) for box in boxes]
    changed = torch.stack([(found[i].argmax(dim=0) != seen[i].argmax(dim=0)).float().mean() for i in chosen])
    maps = [found[i] if i in found else _filled(seen[i], boxes[i], found, boxes) for i in range(len(boxes))]
    return ScoreMaps(maps, boxes), Refinement(len(boxes), len(chosen), float(changed.mean()))


def _choose(scores: Tensor, boxes: Sequence[Box], size: tuple[int, int], refine: Refine) -> list[int]:
    """Windows to run, in their order: the most uncertain ones within the budget."""
    most = math.floor(refine.budget * len(boxes) + 1e-9)
    if not most or scores.shape[0] < 2:
        return []
    best = scores.float().softmax(dim=0).topk(2, dim=0).values
    unsure = (best[0] - best[1] < refine.margin).float()
    height, width = unsure.shape
    areas = [
        (
            slice(top * height // size[0], -(-bottom * height // size[0])),
            slice(left * width // size[1], -(-right * width // size[1])),
        )
        for top, bottom, left, right in boxes
    ]
    able = {i for i, area in enumerate(areas) if float(unsure[area].mean()) >= max(refine.share, 1e-9)}
    chosen: list[int] = []
    while able and len(chosen) < most:
        # A place that was looked at once counts a quarter, and so on: windows spread before they overlap.
        gains = {i: float(unsure[areas[i]].sum()) for i in sorted(able)}
        best_one = max(gains, key=gains.__getitem__)
        able.discard(best_one)
        chosen.append(best_one)
        unsure[areas[best_one]] /= 4
    return sorted(chosen)


def _filled(seen: Tensor, box: Box, found: Mapping[int, Tensor], boxes: Sequence[Box]) -> Tensor:
    """Scores of a window that was not run: the mean of those that were, and ``seen`` where there are none."""
    total, count = torch.zeros_like(seen), torch.zeros_like(seen[:1])
    rows, columns = _places(box, size_of(seen), seen.device)
    for i, scores in found.items():
        top, bottom, left, right = boxes[i]
        inside = ((rows >= top) & (rows < bottom))[:, None] & ((columns >= left) & (columns < right))
        if box[0] < bottom and top < box[1] and box[2] < right and left < box[3]:
            total += _seen_through(scores, boxes[i], box, size_of(seen)) * inside
            count += inside
    return torch.where(count > 0, total / count.clamp_min(1), seen)


def _places(box: Box, shape: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows and columns of the input at the centres of a window's places."""
    top, bottom, left, right = box
    rows = top + (torch.arange(shape[0], device=device, dtype=torch.float32) + 0.5) * ((bottom - top) / shape[0])
    columns = left + (torch.arange(shape[1], device=device, dtype=torch.float32) + 0.5) * ((right - left) / shape[1])
    return rows, columns


def _seen_through(scores: Tensor, around: Box, box: Box, shape: tuple[int, int]) -> Tensor:
    """Scores (K, h, w) of one box at the places of a window in another, (K, *shape)."""
    rows, columns = _places(box, shape, scores.device)
    y, x = torch.meshgrid(
        2 * (rows - around[0]) / (around[1] - around[0]) - 1,
        2 * (columns - around[2]) / (around[3] - around[2]) - 1,
        indexing='ij',
    )
    grid = torch.stack([x, y], dim=-1)[None]
    seen = F.grid_sample(scores[None].float(), grid, mode='bilinear', padding_mode='border', align_corners=False)
    return seen[0].to(scores.dtype)
