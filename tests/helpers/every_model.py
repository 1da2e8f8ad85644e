"""One small model of every registered kind that looks at pictures, and how it is run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from mmseg.structures import SegDataSample
from tiny_anomaly import sample, tiny_model
from torch import Tensor
from word_models import MODELS_WITH_WORDS

WORDS = 'lamp = light, lantern; field; boat; sky'
ANOMALY: dict[str, Callable[[], Any]] = {
    'AnoVL': tiny_model,
    'WinCLIP': lambda: tiny_model(kind='WinCLIP'),
    'AprilGAN': lambda: tiny_model(kind='AprilGAN', layers=(1,)),
}
EVERY_MODEL: dict[str, Callable[[], Any]] = {**MODELS_WITH_WORDS, **ANOMALY}


def build(name: str) -> Any:
    """The model, in evaluation mode, told four words where it takes any; the same at every call."""
    torch.manual_seed(0)
    model = EVERY_MODEL[name]().eval()
    if hasattr(model, 'set_vocabulary'):
        model.set_vocabulary(WORDS)
    return model


def look(name: str, model: Any, size: tuple[int, int]) -> dict[str, Tensor]:
    """What the model says of a picture of noise, as plain tensors; labels, boxes and maps."""
    torch.manual_seed(1)
    picture = torch.randn(1, 3, *size)
    meta = dict(ori_shape=size, img_shape=size, scale_factor=(1.0, 1.0))
    given = sample(img_shape=size, ori_shape=size) if name in ANOMALY else SegDataSample(metainfo=meta)
    with torch.no_grad():
        found = model.predict(picture, [given])[0]
    if 'anomaly_map' in found:
        return {'map': found.anomaly_map.data, 'score': torch.tensor(found.pred_score)}
    if 'pred_sem_seg' in found:
        return {'labels': found.pred_sem_seg.data}
    return {key: found.pred_instances[key] for key in ('bboxes', 'scores', 'labels')}
