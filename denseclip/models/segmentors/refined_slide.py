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

    Windows that are not run see what the pass of the whole picture says there, so that where they overlap with others
    the mean is taken as ever; where all windows over a pixel are run it gets the scores of plain sliding.

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
    seen = [_seen_through(whole, box, size, shape) for box in boxes]
    changed = torch.stack([(found[i].argmax(dim=0) != seen[i].argmax(dim=0)).float().mean() for i in chosen])
    maps = [found.get(i, seen[i]) for i in range(len(boxes))]
    return ScoreMaps(maps, boxes), Refinement(len(boxes), len(chosen), float(changed.mean()))


def _choose(scores: Tensor, boxes: Sequence[Box], size: tuple[int, int], refine: Refine) -> list[int]:
    """Windows to run, in their order: the most uncertain ones within the budget."""
    most = math.floor(refine.budget * len(boxes) + 1e-9)
    if not most or scores.shape[0] < 2:
        return []
    best = scores.float().softmax(dim=0).topk(2, dim=0).values
    unsure = (best[0] - best[1] < refine.margin).float()
    height, width = unsure.shape
    shares = torch.stack(
        [
            unsure[
                top * height // size[0] : max(-(-bottom * height // size[0]), 1),
                left * width // size[1] : max(-(-right * width // size[1]), 1),
            ].mean()
            for top, bottom, left, right in boxes
        ]
    ).tolist()
    able = [i for i, share in enumerate(shares) if share > 0 and share >= refine.share]
    return sorted(sorted(able, key=lambda i: -shares[i])[:most])


def _seen_through(whole: Tensor, box: Box, size: tuple[int, int], shape: tuple[int, int]) -> Tensor:
    """Scores (1, K, h, w) of the whole picture at the places of a window's scores, (K, *shape)."""
    top, bottom, left, right = box

    def places(start: int, stop: int, count: int, length: int) -> Tensor:
        step = torch.arange(count, device=whole.device, dtype=torch.float32)
        return 2 * (start + (step + 0.5) * ((stop - start) / count)) / length - 1

    rows, columns = places(top, bottom, shape[0], size[0]), places(left, right, shape[1], size[1])
    y, x = torch.meshgrid(rows, columns, indexing='ij')
    grid = torch.stack([x, y], dim=-1)[None]
    seen = F.grid_sample(whole.float(), grid, mode='bilinear', padding_mode='border', align_corners=False)
    return seen[0].to(whole.dtype)
