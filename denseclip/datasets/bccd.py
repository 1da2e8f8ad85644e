"""BCCD: 364 pictures of blood smears with boxes around cells, in COCO's layout after conversion.

Source: github.com/Shenggan/BCCD_Dataset (MIT); ``denseclip convert bccd`` makes::

    BCCD/
    ├── annotations/  instances_train.json instances_val.json instances_test.json
    ├── train/        BloodImage_00001.jpg ...   640 x 480
    ├── val/
    └── test/
"""

from mmengine.registry import DATASETS

from denseclip.datasets.named_coco import NamedCocoDataset


@DATASETS.register_module()
class BCCDDataset(NamedCocoDataset):
    """BCCD with its three classes, named as words so that they can serve as prompts as they stand.

    Arguments as of MMDetection's ``CocoDataset``.
    """

    METAINFO = dict(
        classes=('red blood cell', 'white blood cell', 'platelets'),
        palette=[(220, 20, 60), (119, 11, 232), (255, 200, 40)],
    )
