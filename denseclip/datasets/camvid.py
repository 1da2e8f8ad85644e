"""CamVid: street scenes seen from a moving car, in the layout of the SegNet tutorial.

Layout (``SPLIT`` is ``train``, ``val`` or ``test``; a picture and its label map have the same name)::

    CamVid/
    ├── train/       0001TP_006690.png ...   480 x 360 colour pictures
    ├── trainannot/  0001TP_006690.png ...   480 x 360 label maps, one byte a pixel
    ├── val/ valannot/
    └── test/ testannot/

Paper: Brostow et al., "Segmentation and Recognition Using Structure from Motion Point Clouds", ECCV 2008; the
11 classes and the split of 367/101/233 pictures are those of Badrinarayanan et al., "SegNet", PAMI 2017.
"""

from collections.abc import Sequence
from typing import Any

from mmengine.registry import DATASETS
from mmseg.datasets import BaseSegDataset

UNLABELLED_ID = 11
"""Label id that the SegNet tutorial's files give to pixels of no class."""


@DATASETS.register_module()
class CamVidDataset(BaseSegDataset):
    """CamVid with 11 classes; id 11 of the files ("unlabelled") is ignored in training and scoring.

    The class names are written as words so that they can serve as prompts as they stand. Their order is that of
    the SegNet tutorial: Sky, Building, Pole, Road, Pavement, Tree, SignSymbol, Fence, Car, Pedestrian, Bicyclist.

    Args:
        img_suffix: Ending of the pictures' file names.
        seg_map_suffix: Ending of the label maps' file names.
        **kwargs: Everything else that :class:`mmseg.datasets.BaseSegDataset` takes.
    """

    METAINFO = dict(
        classes=(
            'sky',
            'building',
            'pole',
            'road',
            'pavement',
            'tree',
            'sign symbol',
            'fence',
            'car',
            'pedestrian',
            'bicyclist',
        ),
        palette=[
            [128, 128, 128],
            [128, 0, 0],
            [192, 192, 128],
            [128, 64, 128],
            [60, 40, 222],
            [128, 128, 0],
            [192, 128, 128],
            [64, 64, 128],
            [64, 0, 128],
            [64, 64, 0],
            [0, 128, 192],
        ],
    )

    def __init__(self, img_suffix: str = '.png', seg_map_suffix: str = '.png', **kwargs: Any) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int]:
        """Map label ids of the files to label ids for training.

        Args:
            new_classes: Names of the classes to keep; ``None`` keeps all 11.

        Returns:
            Mapping that always sends the unlabelled id to 255, so that it can never be taken for a 12th class.
        """
        label_map = super().get_label_map(new_classes) or {}
        return {**label_map, UNLABELLED_ID: 255}
