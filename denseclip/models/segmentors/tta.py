"""Test-time augmentation for segmentors that make only label maps by default."""

from __future__ import annotations

from typing import Any

from mmengine.registry import MODELS
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
