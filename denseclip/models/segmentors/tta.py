"""Test-time augmentation for segmentors that make only label maps by default."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.models.segmentors.seg_tta import SegTTAModel


@MODELS.register_module()
class DenseSegTTAModel(SegTTAModel):
    """MMSeg's flip and multi-scale averaging of probabilities; tells its module to keep logits.

    Args:
        module: config or instance of the segmentor.
        kwargs: arguments of MMEngine's ``BaseTTAModel``.
    """

    def __init__(self, module: Any, **kwargs: Any) -> None:
        super().__init__(module=module, **kwargs)
        self.module.keep_logits = True


@MODELS.register_module()
class ScoreAverageTTAModel(DenseSegTTAModel):
    """Averages the class scores of all views as they are, for models whose scores are no logits.

    Scores of masks add up to what they may: OVSeg's, FC-CLIP's and their relatives' authors average them without a
    softmax. The result has ``seg_logits``, the mean, besides ``pred_sem_seg``.
    """

    def merge_preds(self, data_samples_list: list[list[Any]]) -> list[Any]:
        """One data sample per picture from those of its views, of which the first is returned."""
        merged = []
        for views in data_samples_list:
            scores = torch.stack([view.seg_logits.data for view in views]).mean(dim=0)
            views[0].seg_logits = PixelData(data=scores)
            views[0].pred_sem_seg = PixelData(data=scores.argmax(dim=0, keepdim=True))
            merged.append(views[0])
        return merged
