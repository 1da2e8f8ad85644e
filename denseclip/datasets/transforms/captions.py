"""Packing of captioned pictures for contrastive pretraining."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS
from mmengine.structures import BaseDataElement


@TRANSFORMS.register_module()
class PackCaption(BaseTransform):
    """Pack a picture and one of its captions.

    Required keys: ``img``; for captions ``gt_caption``, a string or a list of which one is drawn (NumPy's global
    state, which the suite seeds for every sample); optionally ``caption_group`` and ``img_id``.

    The result has ``inputs``, a uint8 tensor (3, H, W) in the channel order of ``img``, and ``data_samples`` with
    ``caption`` and ``caption_group`` (the caption itself unless given).
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """See the class."""
        caption = results.get('gt_caption', '')
        if not isinstance(caption, str):
            caption = caption[np.random.randint(len(caption))]  # noqa: NPY002  (the state that is seeded per sample)
        sample = BaseDataElement(
            metainfo=dict(
                img_id=results.get('img_id'),
                img_path=results.get('img_path'),
                img_shape=results['img'].shape[:2],
                caption=caption,
                caption_group=results.get('caption_group', caption),
            )
        )
        image = torch.from_numpy(np.ascontiguousarray(results['img'].transpose(2, 0, 1)))
        return dict(inputs=image, data_samples=sample)
