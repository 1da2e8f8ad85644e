"""The measures in their plainest form, to compare with: scikit-learn on all pixels, every threshold, every region."""

from __future__ import annotations

import numpy as np
from skimage.measure import label
from sklearn.metrics import auc, precision_recall_curve


def plain_f1_max(labels: np.ndarray, scores: np.ndarray) -> float:
    precision, recall, _ = precision_recall_curve(labels, scores)
    with np.errstate(invalid='ignore'):
        f1 = 2 * precision * recall / (precision + recall)
    return float(np.nanmax(f1))


def plain_aupro(masks: np.ndarray, maps: np.ndarray, limit: float = 0.3) -> float:
    regions, normal = region_scores(masks, maps), maps[masks == 0]
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        points.append((float((normal >= threshold).mean()), float(np.mean([(r >= threshold).mean() for r in regions]))))
    rate, overlap = np.array(points).T
    last = int(np.searchsorted(rate, limit, side='right')) - 1
    at_limit = np.interp(limit, rate[last : last + 2], overlap[last : last + 2])
    return float(auc([*rate[: last + 1], limit], [*overlap[: last + 1], at_limit]) / limit)


def region_scores(masks: np.ndarray, maps: np.ndarray) -> list[np.ndarray]:
    """Scores of every region, one by one."""
    found = []
    for mask, scores in zip(masks, maps, strict=True):
        labels = label(mask != 0)
        found += [scores[labels == k] for k in range(1, labels.max() + 1)]
    return found


def plain_aupro_200(masks: np.ndarray, maps: np.ndarray, limit: float = 0.3, steps: int = 200) -> float:
    low, high = maps.min(), maps.max()
    rates, overlaps = [], []
    for threshold in np.arange(low, high, (high - low) / steps):
        shares = [(region > threshold).mean() for region in region_scores(masks, maps)]
        overlaps.append(np.mean(shares))
        rates.append((maps[masks == 0] > threshold).mean())
    rate, overlap = np.array(rates), np.array(overlaps)
    rate, overlap = rate[rate < limit], overlap[rate < limit]
    rate = (rate - rate.min()) / (rate.max() - rate.min())
    return float(auc(rate, overlap))
