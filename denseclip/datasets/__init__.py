"""Data sets, transforms and what prepares and checks data on disk."""

from denseclip.datasets.camvid import CamVidDataset
from denseclip.datasets.transforms import CheckLabelRange, LabelRangeError

__all__ = ['CamVidDataset', 'CheckLabelRange', 'LabelRangeError']
