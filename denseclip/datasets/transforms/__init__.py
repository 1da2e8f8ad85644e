"""Transforms for data pipelines, registered in MMEngine's root registry."""

from denseclip.datasets.transforms.anomaly import LoadAnomalyMask, LoadPicture, PackAnomalyInputs, ResizePicture
from denseclip.datasets.transforms.brightness import RandomBrightness
from denseclip.datasets.transforms.captions import PackCaption
from denseclip.datasets.transforms.label_range import CheckLabelRange, LabelRangeError
from denseclip.datasets.transforms.suppress_labels import SuppressLabels

__all__ = [
    'LoadAnomalyMask',
    'LoadPicture',
    'PackAnomalyInputs',
    'ResizePicture',
    'CheckLabelRange',
    'LabelRangeError',
    'PackCaption',
    'RandomBrightness',
    'SuppressLabels',
]
