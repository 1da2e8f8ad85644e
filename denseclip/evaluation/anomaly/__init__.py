"""Measures of anomaly detection and localisation: exact, in bounded memory, and as AnoVL's script takes them."""

from denseclip.evaluation.anomaly.binned import BinnedPixels
from denseclip.evaluation.anomaly.curve import (
    Curve,
    aupro,
    auroc,
    average_precision,
    curve_of,
    f1_max,
    trapezoid_average_precision,
)
from denseclip.evaluation.anomaly.measures import MEASURES, image_measures, pixel_measures
from denseclip.evaluation.anomaly.metric import AnomalyMetric
from denseclip.evaluation.anomaly.pixels import ExactPixels, PixelScores, aupro_200, check_pair
from denseclip.evaluation.anomaly.regions import label_regions
from denseclip.evaluation.anomaly.table import ResultTable

__all__ = [
    'MEASURES',
    'AnomalyMetric',
    'BinnedPixels',
    'Curve',
    'ExactPixels',
    'PixelScores',
    'ResultTable',
    'aupro',
    'aupro_200',
    'auroc',
    'average_precision',
    'check_pair',
    'curve_of',
    'f1_max',
    'image_measures',
    'label_regions',
    'pixel_measures',
    'trapezoid_average_precision',
]
