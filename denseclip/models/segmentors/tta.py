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

    A background that takes improbable pixels is taken of the averaged probabilities. Models whose scores are no logits
    name the model that they need in ``tta_model``, and ``--tta`` takes that.

    Args:
        module: config or instance of the segmentor.
        kwargs: arguments of MMEngine's ``BaseTTAModel``.

    Raises:
        ValueError: If the scores of the segmentor are no logits.
    """

    def __init__(self, module: Any, **kwargs: Any) -> None:
        super().__init__(module=module, **kwargs)
        needed = getattr(self.module, 'tta_model', type(self).__name__)
        if not isinstance(self, MODELS.get(needed)):
            raise ValueError(
                f"{type(self.module).__name__} is augmented by tta_model=dict(type='{needed}'), not by "
                f'{type(self).__name__}: its scores are no logits.'
            )
        self.module.keep_logits = True

    def merge_preds(self, data_samples_list: list[list[Any]]) -> list[Any]:
        """One data sample per picture from those of its views."""
        merged = super().merge_preds(data_samples_list)
        if getattr(self.module, 'labels_of_scores', None) is not None:
            for sample, views in zip(merged, data_samples_list, strict=True):
                planes = [view.seg_logits.data for view in views]
                if len(planes[0]) > 1:
                    labels = self.module.labels_of_scores(torch.stack([p.softmax(dim=0) for p in planes]).mean(dim=0))
                    sample.pred_sem_seg = PixelData(data=labels[None])
        return merged


@MODELS.register_module()
class ScoreAverageTTAModel(DenseSegTTAModel):
    """Averages the class scores of all views as they are, for models whose scores are no logits.

    Scores of masks add up to what they may: OVSeg's, FC-CLIP's and their relatives' authors average them without a
    softmax. Labels are those that the model makes of the mean, its background included. The result has ``seg_logits``,
    the mean, besides ``pred_sem_seg``.
    """

    def merge_preds(self, data_samples_list: list[list[Any]]) -> list[Any]:
        """One data sample per picture from those of its views, of which the first is returned.

        Raises:
            ValueError: If the model's labels cannot be made of its scores.
        """
        merged = []
        for views in data_samples_list:
            scores = torch.stack([view.seg_logits.data for view in views]).mean(dim=0)
            label = getattr(self.module, 'labels_of_scores', None)
            labels = scores.argmax(dim=0) if label is None else label(scores)
            views[0].seg_logits = PixelData(data=scores)
            views[0].pred_sem_seg = PixelData(data=labels[None])
            merged.append(views[0])
        return merged
