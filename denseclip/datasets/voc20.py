"""PASCAL VOC 2012 without its background class, as open-vocabulary papers score it ("VOC20").

Layout (the devkit as it is downloaded)::

    VOC2012/
    ├── JPEGImages/           2007_000033.jpg ...
    ├── SegmentationClass/    2007_000033.png ...   palette files: 0 background, 1-20 classes, 255 border
    └── ImageSets/Segmentation/val.txt              1449 names

Data: Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010.
"""

from typing import Any

from mmengine.registry import DATASETS
from mmseg.datasets import BaseSegDataset, PascalVOCDataset


@DATASETS.register_module()
class PascalVOC20Dataset(BaseSegDataset):
    """The 20 objects of VOC; background (id 0 of the files) and borders (255) are ignored.

    Names are those of mmseg's ``PascalVOCDataset``; the list ``voc20`` of the suite has the prompts.

    Args:
        ann_file: List of picture names, without ending.
        img_suffix: Ending of the pictures' file names.
        seg_map_suffix: Ending of the label maps' file names.
        reduce_zero_label: Ignore id 0 and count classes from id 1.
        **kwargs: Everything else that :class:`mmseg.datasets.BaseSegDataset` takes.
    """

    METAINFO = dict(
        classes=PascalVOCDataset.METAINFO['classes'][1:],
        palette=PascalVOCDataset.METAINFO['palette'][1:],
    )

    def __init__(
        self,
        ann_file: str,
        img_suffix: str = '.jpg',
        seg_map_suffix: str = '.png',
        reduce_zero_label: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            ann_file=ann_file,
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            reduce_zero_label=reduce_zero_label,
            **kwargs,
        )
