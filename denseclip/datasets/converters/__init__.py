"""Bring downloaded data sets into the layout that their data set class reads."""

from denseclip.datasets.converters.camvid import convert_camvid
from denseclip.datasets.converters.layout import ConversionError

__all__ = ['ConversionError', 'convert_camvid']
