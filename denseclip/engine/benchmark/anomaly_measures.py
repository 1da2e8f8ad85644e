"""Benchmark of the anomaly measures: one sort, or bins, against scikit-learn and a loop over thresholds and regions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from denseclip.evaluation.anomaly import BinnedPixels, ExactPixels, aupro, aupro_200, check_pair
from denseclip.evaluation.anomaly.curve import area_under, auroc, average_precision, f1_max

from ..config import OptionError
from .machine import describe, set_up
from .report import Report
from .timing import in_turn

EXACT_TOLERANCE, BINNED_TOLERANCE = 1e-6, 1e-4
_LIMIT, _STEPS = 0.3, 200
_EIGHT = np.ones((3, 3), dtype=int)


@dataclass(frozen=True)
class AnomalyOptions:
    """Maps and masks to measure.

    Attributes:
        pictures: How many; a third of them normal, the others with one or two round defects.
        size: Height and width.
        threads: CPU threads; None leaves the libraries' choice.
    """

    pictures: int = 100
    size: tuple[int, int] = (512, 512)
    threads: int | None = None


def draw_maps(options: AnomalyOptions) -> tuple[np.ndarray, np.ndarray]:
    """Smooth maps around 0.5, as CLIP gives them, that see the defects through noise; float32 and uint8, (N, H, W)."""
    rng = np.random.default_rng(0)
    height, width = options.size
    masks = np.zeros((options.pictures, height, width), np.uint8)
    maps = np.empty(masks.shape, np.float32)
    for index, mask in enumerate(masks):
        for _ in range(index % 3):
            centre = int(rng.integers(0, width)), int(rng.integers(0, height))
            cv2.circle(mask, centre, int(rng.integers(2, max(3, min(height, width) // 10))), 1, -1)
        noise = cv2.GaussianBlur(rng.normal(size=mask.shape).astype(np.float32), (0, 0), 4)
        maps[index] = 0.5 + 0.01 * (noise + 0.5 * cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 4))
    return maps, masks


def benchmark_anomaly(options: AnomalyOptions, *, against_plain: bool = False, repeats: int = 3) -> Report:
    """Time pixel AUROC, AP and best F1 together, and AUPRO.

    Args:
        options: The maps.
        against_plain: Also run the plain versions, in turn with ours, and compare the results.
        repeats: Rounds that count.

    Raises:
        OptionError: If the plain versions are asked for and scikit-learn is missing.
    """
    set_up('cpu', options.threads)
    maps, masks = draw_maps(options)
    cases: dict[str, Callable[[], tuple[float, ...]]] = {
        'AUROC, AP, F1: exact': lambda: _three(ExactPixels(), maps, masks),
        'AUROC, AP, F1: bins': lambda: _three(BinnedPixels(), maps, masks),
        'AUPRO: exact': lambda: (aupro(_collect(ExactPixels(), maps, masks).curve(), _LIMIT),),
        'AUPRO: bins': lambda: (aupro(_collect(BinnedPixels(), maps, masks).curve(), _LIMIT),),
        'AUPRO: 200 thresholds': lambda: (aupro_200(_collect(ExactPixels(), maps, masks), _LIMIT, _STEPS),),
    }
    if against_plain:
        cases['AUROC, AP, F1: scikit-learn'] = lambda: plain_three(maps, masks)
        cases['AUPRO: 200 thresholds, loop'] = lambda: (plain_aupro_200(maps, masks),)
    found: dict[str, tuple[float, ...]] = {}

    def keeping(name: str) -> Callable[[], None]:
        return lambda: found.__setitem__(name, cases[name]())

    samples = in_turn({name: keeping(name) for name in cases}, repeats=repeats, warmup=0)
    report = Report(f'Anomaly measures: {len(maps)} maps of {options.size[0]} x {options.size[1]}', describe('cpu'))
    table = report.table('Time', 'version', 'median, s', 'plain / this', 'values')
    plain = {name.split(':')[0]: samples[name].median for name in list(cases)[5:]}
    for name, sample in samples.items():
        ratio = plain[name.split(':')[0]] / sample.median if plain else None
        table.add(name, sample.median, ratio, ', '.join(f'{value:.7f}' for value in found[name]))
    if against_plain:
        report.equal = _agree(found)
    return report


def _collect(pixels: ExactPixels | BinnedPixels, maps: np.ndarray, masks: np.ndarray) -> ExactPixels | BinnedPixels:
    for scores, mask in zip(maps, masks, strict=True):
        pixels.add(*check_pair(scores, mask))
    return pixels


def _three(pixels: ExactPixels | BinnedPixels, maps: np.ndarray, masks: np.ndarray) -> tuple[float, ...]:
    curve = _collect(pixels, maps, masks).curve()
    return auroc(curve), average_precision(curve), f1_max(curve)[0]


def _agree(found: dict[str, tuple[float, ...]]) -> bool:
    """Exact ones equal the plain ones to 1e-6, bins the exact ones to 1e-4."""
    pairs = [
        ('AUROC, AP, F1: exact', 'AUROC, AP, F1: scikit-learn', EXACT_TOLERANCE),
        ('AUROC, AP, F1: bins', 'AUROC, AP, F1: scikit-learn', BINNED_TOLERANCE),
        ('AUPRO: 200 thresholds', 'AUPRO: 200 thresholds, loop', EXACT_TOLERANCE),
        ('AUPRO: bins', 'AUPRO: exact', BINNED_TOLERANCE),
    ]
    return all(np.allclose(found[a], found[b], rtol=0, atol=tolerance) for a, b, tolerance in pairs)


def plain_three(maps: np.ndarray, masks: np.ndarray) -> tuple[float, ...]:
    """Pixel AUROC, AP and best F1 as AnoVL's script takes them: three calls of scikit-learn, each with its own sort."""
    try:
        from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score
    except ImportError as error:
        raise OptionError('--against baseline needs scikit-learn: pip install scikit-learn') from error
    truth, scores = masks.ravel(), maps.ravel()
    precision, recall, _ = precision_recall_curve(truth, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(roc_auc_score(truth, scores)), float(average_precision_score(truth, scores)), float(f1.max())


def plain_aupro_200(maps: np.ndarray, masks: np.ndarray) -> float:
    """AUPRO as AnoVL's script takes it: for each of 200 thresholds, label every mask and visit every region."""
    low, high = maps.min(), maps.max()
    rates, overlaps = [], []
    for threshold in np.arange(low, high, (high - low) / _STEPS):
        binary = maps > threshold
        shares = []
        for mask, hit in zip(masks, binary, strict=True):
            labels, _ = ndimage.label(mask, structure=_EIGHT)
            for number, box in enumerate(ndimage.find_objects(labels), start=1):
                shares.append(hit[box][labels[box] == number].mean())
        overlaps.append(np.mean(shares))
        rates.append(np.logical_and(masks == 0, binary).sum() / (masks == 0).sum())
    rate, overlap = np.array(rates), np.array(overlaps)
    kept = rate < _LIMIT
    rate, overlap = rate[kept][::-1], overlap[kept][::-1]
    return area_under((rate - rate[0]) / (rate[-1] - rate[0]), overlap)
