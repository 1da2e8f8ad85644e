"""What users call from Python: ``load_model``, ``segment``, ``list_models``. The commands are in ``denseclip.cli``."""

from __future__ import annotations

from denseclip.files.lazy import on_first_use

__all__, __getattr__, __dir__ = on_first_use(
    __name__,
    {
        'Adapted': 'adapt',
        'AnomalyInferencer': 'anomaly',
        'AnomalyResult': 'anomaly_result',
        'Detections': 'detection',
        'Detector': 'detector',
        'Inferencer': 'inferencer',
        'MaskInferencer': 'mask_inferencer',
        'PanopticSegmentation': 'panoptic',
        'Segmentation': 'segmentation',
        'UnreadableImageError': 'images',
        'UserError': 'errors',
        'default_model': 'zoo',
        'ModelCard': 'catalogue',
        'Predictor': 'predictor',
        'Result': 'results.base',
        'detect': 'functions',
        'from_pretrained': 'pretrained',
        'list_models': 'catalogue',
        'load_model': 'loading',
        'localize_anomalies': 'functions',
        'read_image': 'images',
        'segment': 'functions',
    },
)
