"""Transforms for data pipelines, registered in MMEngine's root registry."""

from denseclip.datasets.transforms.label_range import CheckLabelRange, LabelRangeError

__all__ = ['CheckLabelRange', 'LabelRangeError']
