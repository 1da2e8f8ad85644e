"""Recognise how somebody's own data set lies on disk: boxes in COCO's or VOC's format, or label maps in folders."""

from denseclip.datasets.own_data.data import BoxData, BoxSplit, LabelMapData, LabelMapSplit, Reading
from denseclip.datasets.own_data.layouts import recognise

__all__ = ['BoxData', 'BoxSplit', 'LabelMapData', 'LabelMapSplit', 'Reading', 'recognise']
