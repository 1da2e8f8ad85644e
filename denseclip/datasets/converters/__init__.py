"""Bring downloaded data sets into the layout that their data set class reads."""

from denseclip.datasets.converters.ade20k_full import convert_ade20k_full
from denseclip.datasets.converters.camvid import convert_camvid
from denseclip.datasets.converters.cityscapes import convert_cityscapes
from denseclip.datasets.converters.coco import convert_coco_object, convert_coco_stuff
from denseclip.datasets.converters.inspection import (
    anomaly_meta,
    convert_magnetic_tile,
    convert_visa,
    write_anomaly_meta,
    write_mvtec_meta,
    write_visa_meta,
)
from denseclip.datasets.converters.layout import ConversionError
from denseclip.datasets.converters.mess import convert_mess
from denseclip.datasets.converters.panoptic import convert_ade20k_panoptic, convert_cityscapes_panoptic
from denseclip.datasets.converters.pascal_context import convert_pascal_context, convert_pascal_context459
from denseclip.datasets.converters.voc_boxes import convert_bccd

__all__ = [
    'ConversionError',
    'anomaly_meta',
    'convert_magnetic_tile',
    'convert_visa',
    'write_anomaly_meta',
    'write_mvtec_meta',
    'write_visa_meta',
    'convert_bccd',
    'convert_ade20k_full',
    'convert_ade20k_panoptic',
    'convert_camvid',
    'convert_cityscapes',
    'convert_cityscapes_panoptic',
    'convert_coco_object',
    'convert_coco_stuff',
    'convert_mess',
    'convert_pascal_context',
    'convert_pascal_context459',
]
