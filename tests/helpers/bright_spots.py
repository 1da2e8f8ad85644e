"""An anomaly model that needs no CLIP: what is bright is anomalous."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.structures import PixelData


@MODELS.register_module(force=True)
class BrightSpots(BaseModel):
    """Raw scores between 0.49 and 0.51, as CLIP's without a temperature."""

    object_name = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()

    def set_object(self, name: str, domain: str | None = None, defects: Any = None) -> Any:
        if not name.strip():
            raise ValueError('an object needs a name')
        self.object_name = name
        return (name, domain, defects)

    def input_shape(self, height: int, width: int) -> tuple[int, int]:
        return 16, 24

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'predict') -> Any:
        assert {tuple(picture.shape) for picture in inputs} == {(3, 16, 24)}
        for picture, sample in zip(inputs, data_samples, strict=True):
            grey = 0.49 + 0.02 * picture.float().mean(0, keepdim=True) / 255
            pixels = F.interpolate(grey[None], size=sample.ori_shape, mode='bilinear')[0]
            sample.anomaly_map, sample.pred_score = PixelData(data=pixels), pixels.max().item()
        return data_samples


CONFIG = dict(default_scope='mmseg', model=dict(type='BrightSpots'))
