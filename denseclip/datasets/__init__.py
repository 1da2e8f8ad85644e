"""Data sets, transforms and what prepares and checks data on disk."""

from denseclip.datasets.anomaly_sets import AnomalyFolderDataset, MagneticTileDataset, MVTecADDataset, VisADataset
from denseclip.datasets.bccd import BCCDDataset
from denseclip.datasets.camvid import CamVidDataset
from denseclip.datasets.caption_shards import BlockSampler, CaptionShards
from denseclip.datasets.captions import CaptionedImages
from denseclip.datasets.coco_object import COCOObjectDataset
from denseclip.datasets.label_map_dataset import LabelMapDataset
from denseclip.datasets.mask_pairs import MaskedRegionTable, MaskNounPairs
from denseclip.datasets.miniworld import MiniworldDataset, MiniworldInstances, MiniworldPictures
from denseclip.datasets.named_coco import NamedCocoDataset
from denseclip.datasets.panoptic import (
    ADE20KPanopticSegments,
    CityscapesPanopticSegments,
    COCOPanopticSegments,
    MiniworldPanopticSegments,
    PanopticSegmentsDataset,
)
from denseclip.datasets.picture_folder import PictureFolderDataset
from denseclip.datasets.transforms import CheckLabelRange, LabelRangeError
from denseclip.datasets.voc20 import PascalVOC20Dataset
from denseclip.datasets.wide_labels import ADE20KFullDataset, PascalContextDataset459

__all__ = [
    'BlockSampler',
    'CaptionShards',
    'ADE20KPanopticSegments',
    'COCOPanopticSegments',
    'CityscapesPanopticSegments',
    'MiniworldPanopticSegments',
    'PanopticSegmentsDataset',
    'ADE20KFullDataset',
    'MaskNounPairs',
    'NamedCocoDataset',
    'MaskedRegionTable',
    'PascalContextDataset459',
    'BCCDDataset',
    'AnomalyFolderDataset',
    'MVTecADDataset',
    'MagneticTileDataset',
    'VisADataset',
    'COCOObjectDataset',
    'CamVidDataset',
    'CaptionedImages',
    'MiniworldDataset',
    'MiniworldInstances',
    'MiniworldPictures',
    'CheckLabelRange',
    'LabelMapDataset',
    'LabelRangeError',
    'PascalVOC20Dataset',
    'PictureFolderDataset',
]
