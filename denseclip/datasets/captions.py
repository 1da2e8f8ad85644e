"""Pictures with captions in COCO's layout, for pretraining on one's own captions.

Layout::

    DATA_ROOT/
    ├── train2017/000000000001.jpg ...
    └── annotations/captions_train2017.json    images: id, file_name; annotations: image_id, caption
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS


@DATASETS.register_module()
class CaptionedImages(BaseDataset):
    """A picture with all its captions is one sample; pictures without a caption are left out.

    mmdet's ``CocoCaptionDataset`` reads another format (BLIP's list of pairs).

    Args:
        ann_file: COCO's ``captions_*.json``.
        data_prefix: ``img_path`` is the folder of the pictures.
        **kwargs: Everything else that :class:`mmengine.dataset.BaseDataset` takes.
    """

    def __init__(self, ann_file: str, data_prefix: dict[str, str], **kwargs: Any) -> None:
        super().__init__(ann_file=ann_file, data_prefix=data_prefix, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Read the annotation file.

        Raises:
            FileNotFoundError: It does not exist.
            ValueError: It is no caption file of COCO's format.
        """
        path = Path(self.ann_file)
        if not path.is_file():
            raise FileNotFoundError(f"caption file '{path}' does not exist; check data_root and ann_file")
        try:
            content = json.loads(path.read_text(encoding='utf-8'))
            captions: dict[int, list[str]] = {}
            for annotation in content['annotations']:
                captions.setdefault(annotation['image_id'], []).append(annotation['caption'])
            images = [(image['id'], image['file_name']) for image in content['images']]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(
                f"'{path}' is no caption file of COCO's format ({error!r}): it needs images with id and file_name, and "
                'annotations with image_id and caption'
            ) from error
        folder = Path(self.data_prefix['img_path'])
        return [
            {'img_path': str(folder / name), 'img_id': number, 'gt_caption': captions[number]}
            for number, name in images
            if number in captions
        ]
