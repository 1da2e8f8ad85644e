"""Transforms for data pipelines, registered in MMEngine's root registry."""

from denseclip.datasets.transforms.anomaly_inputs import LoadAnomalyMask, LoadPicture, PackAnomalyInputs, ResizePicture
from denseclip.datasets.transforms.brightness import RandomBrightness
from denseclip.datasets.transforms.captions import PackCaption
from denseclip.datasets.transforms.doubtful import IgnoreDoubtful
from denseclip.datasets.transforms.label_range import CheckLabelRange, LabelRangeError
from denseclip.datasets.transforms.labels_if_any import LabelsIfAny
from denseclip.datasets.transforms.panoptic import LoadPanopticSegments, PackPanopticInputs
from denseclip.datasets.transforms.pillow_resize import PillowResizeShortSide
from denseclip.datasets.transforms.random_part import DrawnOnce, RandomPart
from denseclip.datasets.transforms.regions import (
    CutRegion,
    PackRegion,
    RandomResizedRegion,
    RecoverMask,
    ResizeRegion,
)
from denseclip.datasets.transforms.suppress_labels import SuppressLabels
from denseclip.datasets.transforms.synthetic_defect import SyntheticDefect
from denseclip.datasets.transforms.wide_annotations import LoadWideAnnotations

__all__ = [
    'LoadAnomalyMask',
    'LoadPicture',
    'PackAnomalyInputs',
    'ResizePicture',
    'CheckLabelRange',
    'LabelRangeError',
    'CutRegion',
    'DrawnOnce',
    'IgnoreDoubtful',
    'LabelsIfAny',
    'LoadWideAnnotations',
    'PackRegion',
    'RandomResizedRegion',
    'RecoverMask',
    'ResizeRegion',
    'LoadPanopticSegments',
    'PackCaption',
    'PackPanopticInputs',
    'PillowResizeShortSide',
    'RandomBrightness',
    'RandomPart',
    'SuppressLabels',
    'SyntheticDefect',
]
