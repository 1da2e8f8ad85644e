"""COCO-Object: the 80 things of COCO as a semantic set; all else is background.

Layout (made from COCO-Stuff 164k by ``denseclip convert coco_object``)::

    coco_object/
    ├── images/val2017/        000000000139.jpg ...
    └── annotations/val2017/   000000000139_instanceTrainIds.png ...   0 background, 1-80 things; nothing is ignored

The task was set by GroupViT (Xu et al., CVPR 2022); data: Lin et al., "Microsoft COCO", ECCV 2014.
"""

from typing import Any

from mmengine.registry import DATASETS
from mmseg.datasets import BaseSegDataset, COCOStuffDataset

from denseclip.clip.vocabulary import Vocabulary


@DATASETS.register_module()
class COCOObjectDataset(BaseSegDataset):
    """COCO-Object with 81 classes, background first.

    Class names are the suite's list ``coco_object``; colours are those of the things in COCO-Stuff, background black.

    Args:
        img_suffix: Ending of the pictures' file names.
        seg_map_suffix: Ending of the label maps' file names.
        **kwargs: Everything else that :class:`mmseg.datasets.BaseSegDataset` takes.
    """

    METAINFO = dict(
        classes=Vocabulary.named('coco_object').names,
        palette=[[0, 0, 0], *COCOStuffDataset.METAINFO['palette'][:80]],
    )

    def __init__(self, img_suffix: str = '.jpg', seg_map_suffix: str = '_instanceTrainIds.png', **kwargs: Any) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
