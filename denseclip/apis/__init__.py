"""What users call from Python: ``load_model``, ``segment``, ``list_models``. The commands are in ``denseclip.cli``."""

from __future__ import annotations

import importlib
from typing import Any

_SOURCES = {
    'AnomalyInferencer': 'anomaly',
    'AnomalyResult': 'anomaly',
    'Detections': 'detection',
    'Detector': 'detector',
    'Inferencer': 'inferencer',
    'MaskInferencer': 'mask_inferencer',
    'PanopticSegmentation': 'panoptic',
    'Segmentation': 'segmentation',
    'UnreadableImageError': 'images',
    'UserError': 'errors',
    'default_model': 'bundled',
    'ModelCard': 'catalogue',
    'Predictor': 'predictor',
    'Result': 'results.base',
    'detect': 'functions',
    'list_models': 'catalogue',
    'load_model': 'loading',
    'localize_anomalies': 'functions',
    'read_image': 'images',
    'segment': 'functions',
}
__all__ = [
    'AnomalyInferencer',
    'AnomalyResult',
    'Detections',
    'Detector',
    'Inferencer',
    'MaskInferencer',
    'ModelCard',
    'PanopticSegmentation',
    'Predictor',
    'Result',
    'Segmentation',
    'UnreadableImageError',
    'UserError',
    'default_model',
    'detect',
    'list_models',
    'load_model',
    'localize_anomalies',
    'read_image',
    'segment',
]


def __getattr__(name: str) -> Any:
    """Load parts when they are first used: the command line starts faster, and reading pictures needs no model."""
    if name not in _SOURCES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.{_SOURCES[name]}'), name)
