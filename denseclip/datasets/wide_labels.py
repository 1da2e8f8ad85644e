"""Sets with more classes than 8-bit label maps can hold: ADE20K-847 and PASCAL Context-459.

Layouts (made by ``denseclip convert ade20k_full`` and ``pascal_context459``)::

    ade20k_full/                                        VOC2010_459/
    ├── images/validation/       ADE_val_00000001.jpg   ├── JPEGImages/                    2008_000002.jpg
    └── annotations/validation/  ADE_val_00000001.png   ├── SegmentationClassContext459/   2008_000002.png
                                                        └── ImageSets/SegmentationContext/val.txt

Label maps have 16 bits; 65535 is ignored. Load them with ``LoadWideAnnotations`` and score them with
``ignore_index=65535``: mmseg's ``LoadAnnotations`` keeps the lower 8 bits only.

Data: Zhou et al., "Semantic Understanding of Scenes through the ADE20K Dataset", IJCV 2019; Mottaghi et al., "The Role
of Context for Object Detection and Semantic Segmentation in the Wild", CVPR 2014.
"""

from collections.abc import Sequence
from typing import Any

from mmengine.registry import DATASETS
from mmseg.datasets import BaseSegDataset

from denseclip.clip.vocabulary import Vocabulary

IGNORED = 65535
"""Id of pixels that belong to no class."""


class WideLabelDataset(BaseSegDataset):
    """A set whose ids need 16 bits; classes that a user leaves out become 65535 instead of mmseg's 255."""

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int] | None:
        """See :meth:`mmseg.datasets.BaseSegDataset.get_label_map`."""
        if super().get_label_map(new_classes) is None:
            return None
        assert new_classes is not None
        places = {name: new for new, name in enumerate(new_classes)}
        return {old: places.get(name, IGNORED) for old, name in enumerate(cls.METAINFO['classes'])}


@DATASETS.register_module()
class ADE20KFullDataset(WideLabelDataset):
    """ADE20K with 847 classes; names are the list ``ade20k_full``.

    Args:
        img_suffix: Ending of the pictures' file names.
        seg_map_suffix: Ending of the label maps' file names (``'.tif'`` for files of OVSeg's scripts).
        ignore_index: Id of ignored pixels.
        **kwargs: Everything else that :class:`mmseg.datasets.BaseSegDataset` takes.
    """

    METAINFO = dict(classes=Vocabulary.named('ade20k_full').names)

    def __init__(
        self, img_suffix: str = '.jpg', seg_map_suffix: str = '.png', ignore_index: int = IGNORED, **kwargs: Any
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, ignore_index=ignore_index, **kwargs)


@DATASETS.register_module()
class PascalContextDataset459(WideLabelDataset):
    """PASCAL Context with all 459 classes; names are the list ``context459``.

    Args:
        ann_file: List of picture names, without ending.
        img_suffix: Ending of the pictures' file names.
        seg_map_suffix: Ending of the label maps' file names (``'.tif'`` for files of OVSeg's scripts).
        ignore_index: Id of ignored pixels.
        **kwargs: Everything else that :class:`mmseg.datasets.BaseSegDataset` takes.
    """

    METAINFO = dict(classes=Vocabulary.named('context459').names)

    def __init__(
        self,
        ann_file: str = '',
        img_suffix: str = '.jpg',
        seg_map_suffix: str = '.png',
        ignore_index: int = IGNORED,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            ann_file=ann_file,
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            ignore_index=ignore_index,
            **kwargs,
        )
