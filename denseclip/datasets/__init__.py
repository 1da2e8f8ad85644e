"""Data sets, transforms and what prepares and checks data on disk."""

from denseclip.datasets import generated_anomaly, generated_coco, generated_open_vocab, generated_pictures  # noqa: F401  (register layouts)
from denseclip.datasets.anomaly import AnomalyFolderDataset, MagneticTileDataset, MVTecADDataset, VisADataset
from denseclip.datasets.bccd import BCCDDataset
from denseclip.datasets.camvid import CamVidDataset
from denseclip.datasets.captions import CaptionedImages
from denseclip.datasets.coco_object import COCOObjectDataset
from denseclip.datasets.miniworld import MiniworldDataset, MiniworldPictures
from denseclip.datasets.picture_folder import PictureFolderDataset
from denseclip.datasets.transforms import CheckLabelRange, LabelRangeError
from denseclip.datasets.voc20 import PascalVOC20Dataset

__all__ = [
    'BCCDDataset',
    'AnomalyFolderDataset',
    'MVTecADDataset',
    'MagneticTileDataset',
    'VisADataset',
    'COCOObjectDataset',
    'CamVidDataset',
    'CaptionedImages',
    'MiniworldDataset',
    'MiniworldPictures',
    'CheckLabelRange',
    'LabelRangeError',
    'PascalVOC20Dataset',
    'PictureFolderDataset',
]
