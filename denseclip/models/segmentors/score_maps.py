"""Scores of a picture's windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from denseclip.core.placement import Box, Placement, Windows
from denseclip.models.functional.tiled_label_map import tiled_label_map

_NUMBERS_AT_ONCE = 2**24


@dataclass
class ScoreMaps:
    """Scores at the resolution of the patches.

    Attributes:
        maps: One (K, h, w) tensor per window.
        boxes: Where the windows lie; None if there is one for the whole input.
    """

    maps: list[Tensor]
    boxes: Sequence[Box] | None

    def without(self, rows: Tensor) -> ScoreMaps:
        """The same with some rows, (K,) bool, below all others, so that they win nowhere."""
        low = min(float(scores.amin()) for scores in self.maps) - 1
        return ScoreMaps([scores.masked_fill(rows[:, None, None], low) for scores in self.maps], self.boxes)

    def only(self, rows: Tensor) -> ScoreMaps:
        """The same with some rows, (K,) bool, alone; itself if that is all of them."""
        if bool(rows.all()):
            return self
        return ScoreMaps([scores[rows] for scores in self.maps], self.boxes)

    def label_map(self, placement: Placement) -> Tensor:
        """Labels in the result's size, turned back; K full-size planes are never made."""
        padded, out = placement.padded, placement.out
        assert padded is not None and out is not None  # those of a data sample have both
        return placement.turn_back(tiled_label_map(self.maps, self.boxes, padded, out, placement.valid))

    def full(self, placement: Placement) -> Tensor:
        """Scores of all classes in the input's size, windows averaged where they overlap."""
        if self.boxes is None:
            return placement.enlarge(self.maps[0])
        assert placement.padded is not None
        return Windows(self.boxes, placement.padded).mean(self.maps)

    def reduced(self, placement: Placement, reduce: Callable[[Tensor], Tensor]) -> Tensor:
        """What becomes of planes in the result's size, a few at a time: K of them are never there together.

        Args:
            placement: Where the picture lies in the input.
            reduce: Makes small planes (k, h, w) of large ones (k, H, W), each by itself.
        """
        return torch.cat([reduce(planes) for planes in self._finished(placement)])

    def best(self, placement: Placement) -> tuple[Tensor, Tensor]:
        """Best class of each pixel of the result, the lowest among equals, and its score, each (H, W)."""
        labels = best = None
        first = 0
        for planes in self._finished(placement):
            score, index = planes.max(dim=0)
            if labels is None or best is None:
                labels, best = index, score
            else:
                labels = torch.where(score > best, index + first, labels)
                best = torch.maximum(best, score)
            first += len(planes)
        assert labels is not None and best is not None
        return labels, best

    def _finished(self, placement: Placement) -> Iterator[Tensor]:
        """Planes in the result's size, a few at a time."""
        count, at_once = len(self.maps[0]), max(1, _NUMBERS_AT_ONCE // placement.largest(self.maps[0]))
        for i in range(0, count, at_once):
            maps = [scores[i : i + at_once] for scores in self.maps]
            yield placement.finish(ScoreMaps(maps, self.boxes).full(placement))
