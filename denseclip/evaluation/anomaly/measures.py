"""The measures of one category of pictures, by name."""

from __future__ import annotations

import numpy as np

from denseclip.evaluation.anomaly.curve import (
    NAN,
    aupro,
    auroc,
    average_precision,
    curve_of,
    f1_max,
    trapezoid_average_precision,
)
from denseclip.evaluation.anomaly.pixels import PixelScores, aupro_200

IMAGE_MEASURES = ('image_AUROC', 'image_AP', 'image_F1max')
PIXEL_MEASURES = ('pixel_AUROC', 'pixel_AP', 'pixel_F1max', 'AUPRO')
MEASURES = (*IMAGE_MEASURES, *PIXEL_MEASURES)

AUPRO_MODES = ('exact', 'anovl')
AP_MODES = ('step', 'trapezoid')


def image_measures(scores: np.ndarray, labels: np.ndarray, ap: str = 'step') -> dict[str, float]:
    """Measures of whole pictures.

    Args:
        scores: One score a picture, shape (N,).
        labels: 1 or True for pictures with a defect, shape (N,).
        ap: ``'step'`` sums precision over recall in steps (scikit-learn, APRIL-GAN); ``'trapezoid'`` is what AnoVL's
            script calls AP.

    Returns:
        :data:`IMAGE_MEASURES`, 0..1, NaN where they are not defined (AUROC without normal or without anomalous
        pictures, the others without anomalous ones).

    Raises:
        ValueError: If ``ap`` is unknown or a score is NaN.
    """
    if ap not in AP_MODES:
        raise ValueError(f'image AP {ap!r} is unknown; choose from {", ".join(AP_MODES)}')
    scores = np.asarray(scores, dtype=np.float64)
    if np.isnan(scores).any():
        raise ValueError(f'{int(np.isnan(scores).sum())} of {scores.size} picture scores are NaN')
    curve = curve_of(scores, np.asarray(labels, dtype=bool))
    precision = average_precision if ap == 'step' else trapezoid_average_precision
    return dict(zip(IMAGE_MEASURES, (auroc(curve), precision(curve), f1_max(curve)[0]), strict=True))


def pixel_measures(pixels: PixelScores | None, aupro_mode: str = 'exact', limit: float = 0.3) -> dict[str, float]:
    """Measures of pixels and regions.

    Args:
        pixels: All pixels of the category; None where masks are missing.
        aupro_mode: ``'exact'``, or ``'anovl'`` for the 200 thresholds of AnoVL's script.
        limit: Upper end of AUPRO's false-positive rate.

    Returns:
        :data:`PIXEL_MEASURES`, 0..1, NaN where they are not defined.

    Raises:
        ValueError: If ``aupro_mode`` is unknown.
    """
    if aupro_mode not in AUPRO_MODES:
        raise ValueError(f'AUPRO mode {aupro_mode!r} is unknown; choose from {", ".join(AUPRO_MODES)}')
    if pixels is None:
        return dict.fromkeys(PIXEL_MEASURES, NAN)
    curve = pixels.curve()
    overlap = aupro(curve, limit) if aupro_mode == 'exact' else aupro_200(pixels, limit)
    values = (auroc(curve), average_precision(curve), f1_max(curve)[0], overlap)
    return dict(zip(PIXEL_MEASURES, values, strict=True))
