"""Exact pixel measures over several processes: each keeps and counts its own normal pixels, no map travels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from mmengine.dist import all_gather_object, all_reduce

from denseclip.evaluation.anomaly.curve import Curve, curve_of_parts
from denseclip.evaluation.anomaly.pixels import ExactPixels, region_overlap


class SharedPixels:
    """The pixels of all processes, of which every process has a part.

    A curve is known from the scores of the anomalous pixels, which are few and known to all, and the numbers of normal
    ones above each, which are sums over processes. Every method is called by all processes at once.

    Args:
        own: This process' part.

    Attributes:
        num_normal: Normal pixels of all processes.
        num_regions: Connected anomalous regions of all processes.
    """

    def __init__(self, own: ExactPixels) -> None:
        normal, anomalous, weights = own.parts()
        ends = [normal[[0, -1]]] if normal.size else []
        shared = all_gather_object((own.num_normal, own.num_regions, anomalous, weights, ends))
        self._normal = normal
        self.num_normal, self.num_regions = (sum(part[k] for part in shared) for k in (0, 1))
        self._anomalous, self._weights = (np.concatenate([part[k] for part in shared]) for k in (2, 3))
        self._ends = [end for part in shared for end in part[4]]

    def curve(self) -> Curve:
        """The curve of the pixels of all processes."""
        own = curve_of_parts(self._normal, self._anomalous, self._weights, self.num_regions)
        above, reached = _total(np.stack([own.false_above, own.false]))
        return replace(own, false_above=above, false=reached, num_normal=self.num_normal)

    def span(self) -> tuple[np.floating, np.floating]:
        """Lowest and highest score, in the precision of the scores."""
        parts = [*self._ends, *([self._anomalous] if self._anomalous.size else [])]
        return min(part.min() for part in parts), max(part.max() for part in parts)

    def above(self, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Normal pixels and mean region overlap strictly above each of some rising thresholds."""
        own = self._normal.size - np.searchsorted(self._normal, thresholds, side='right')
        return _total(own), region_overlap(self._anomalous, self._weights, thresholds, self.num_regions)


def _total(counts: np.ndarray) -> np.ndarray:
    """Sum over processes."""
    total = torch.from_numpy(counts.astype(np.int64))
    all_reduce(total)
    return total.numpy()
