"""Pixel scores of any number of pictures in a bounded number of bins.

A float's bits, read as an integer, rise with the float. The highest bits are a bin: narrow where floats are dense, so
scores between 0.49 and 0.51 are told apart as finely as probabilities near 1e-6, and no range has to be known
beforehand. Only bins that hold a score are kept. When there are too many, every two neighbours become one; since that
happens at the same bit whatever the order of the pictures, the result depends neither on their order nor on how they
were spread over processes.
"""

from __future__ import annotations

import numpy as np

from denseclip.evaluation.anomaly.curve import Curve
from denseclip.evaluation.anomaly.regions import region_weights

DEFAULT_BINS = 65_536
_SIGN = np.uint32(0x8000_0000)


class BinnedPixels:
    """Counts scores in at most ``bins`` bins; exact as long as no more distinct float32 scores have been seen.

    Args:
        bins: Most bins that are kept, at least 2. Memory is 28 bytes each, however many pixels come.

    Attributes:
        num_normal: Normal pixels so far.
        num_regions: Connected anomalous regions so far.
        shift: Lowest bits of the scores that no longer count.
    """

    def __init__(self, bins: int = DEFAULT_BINS) -> None:
        if bins < 2:
            raise ValueError(f'at least 2 bins are needed, got {bins}')
        self.bins = bins
        self.shift = 0
        self.num_normal = 0
        self.num_regions = 0
        self._keys = np.zeros(0, np.uint32)
        # normal pixels, anomalous pixels, their weights; float64 counts are exact up to 2**53
        self._mass = np.zeros((3, 0))

    def add(self, scores: np.ndarray, mask: np.ndarray) -> None:
        """Take in a picture that :func:`~denseclip.evaluation.anomaly.pixels.check_pair` has let through."""
        weights, regions = region_weights(mask)
        keys = _keys_of(scores) >> np.uint32(self.shift)
        inside = keys[mask]
        found, all_counts = _count(keys.reshape(-1))
        places = np.searchsorted(found, inside)
        mass = np.zeros((3, found.size))
        mass[1] = np.bincount(places, minlength=found.size)
        mass[2] = np.bincount(places, weights=weights, minlength=found.size)
        mass[0] = all_counts - mass[1]
        self.num_normal += scores.size - inside.size
        self.num_regions += regions
        self._take_in(found, mass)

    def merge(self, other: BinnedPixels) -> None:
        """Take in what another collector, say of another process, has counted.

        Raises:
            ValueError: If it has another number of bins.
        """
        if other.bins != self.bins:
            raise ValueError(f'cannot merge {other.bins} bins into {self.bins}')
        shift = max(self.shift, other.shift)
        keys, mass = _coarser(other._keys, other._mass, shift - other.shift)
        self._keys, self._mass = _coarser(self._keys, self._mass, shift - self.shift)
        self.shift = shift
        self.num_normal += other.num_normal
        self.num_regions += other.num_regions
        self._take_in(keys, mass)

    def _take_in(self, keys: np.ndarray, mass: np.ndarray) -> None:
        places = np.searchsorted(self._keys, keys)
        known = np.zeros(keys.size, dtype=bool)
        inside = places < self._keys.size
        known[inside] = self._keys[places[inside]] == keys[inside]
        self._mass[:, places[known]] += mass[:, known]
        new = ~known
        self._keys = np.insert(self._keys, places[new], keys[new])
        self._mass = np.insert(self._mass, places[new], mass[:, new], axis=1)
        while self._keys.size > self.bins:
            self._keys, self._mass = _coarser(self._keys, self._mass, 1)
            self.shift += 1

    def curve(self) -> Curve:
        """The curve of all pixels so far; scores of one bin count as equal, its lower edge is the threshold."""
        normal, anomalous, weight = self._mass[:, ::-1]
        reached = normal.cumsum()
        holds = anomalous > 0
        thresholds = _scores_of(self._keys[::-1][holds], self.shift)
        return Curve(
            thresholds=thresholds,
            true=anomalous.cumsum()[holds],
            false_above=(reached - normal)[holds],
            false=reached[holds],
            num_normal=self.num_normal,
            overlap=weight.cumsum()[holds] / max(self.num_regions, 1),
            num_regions=self.num_regions,
        )

    def span(self) -> tuple[np.floating, np.floating]:
        """Lower edges of the lowest and highest bin."""
        low, high = _scores_of(self._keys[[0, -1]], self.shift)
        return low, high

    def above(self, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Normal pixels and mean region overlap strictly above each of some rising thresholds."""
        first = np.searchsorted(_scores_of(self._keys, self.shift), thresholds, side='right')
        falling = np.zeros((3, self._keys.size + 1))
        falling[:, :-1] = self._mass[:, ::-1].cumsum(axis=1)[:, ::-1]
        return falling[0, first], falling[2, first] / max(self.num_regions, 1)

    def quantile(self, share: float) -> float:
        """Score below which about ``share`` (0..1) of all pixels lie: lower edge of the bin reached there."""
        reached = self._mass[:2].sum(axis=0).cumsum()
        index = min(int(np.searchsorted(reached, share * reached[-1])), reached.size - 1)
        return float(_scores_of(self._keys[index : index + 1], self.shift)[0])


def _keys_of(scores: np.ndarray) -> np.ndarray:
    """Unsigned integers in the order of the float32 scores."""
    bits = (scores.astype(np.float32) + np.float32(0)).view(np.uint32)  # + 0 makes -0 and 0 one number
    # all bits of a negative number are turned over, of another one the sign alone
    return bits ^ ((bits.view(np.int32) >> 31).view(np.uint32) | _SIGN)


def _scores_of(keys: np.ndarray, shift: int) -> np.ndarray:
    """Lowest score of each bin."""
    keys = keys << np.uint32(shift)
    return np.where(keys & _SIGN, keys & ~_SIGN, ~keys).astype(np.uint32).view(np.float32)


def _count(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct keys, rising, and how often each occurs; by counting where that is cheaper than sorting."""
    low, high = int(keys.min()), int(keys.max())
    if high - low > 4 * keys.size:
        return np.unique(keys, return_counts=True)
    counts = np.bincount(keys - np.uint32(low))
    found = np.flatnonzero(counts)
    return (found + low).astype(np.uint32), counts[found]


def _coarser(keys: np.ndarray, mass: np.ndarray, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """Bins ``2**shift`` times as wide."""
    if not shift or not keys.size:
        return keys, mass
    keys = keys >> np.uint32(shift)
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    return keys[first], np.add.reduceat(mass, first, axis=1)
