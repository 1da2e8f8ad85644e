"""Masks from any instance segmentation model of MMDetection."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS as DETECTORS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from denseclip.models.unsaved import leave_out_of_checkpoints
from denseclip.weights import load_into, read_state_dict, resolve, weight_file

from .base import PictureProposer, model_of_file


@MODELS.register_module()
class InstanceModelMasks(PictureProposer):
    """Takes the masks that a detector finds, whatever it calls them. Its weights stay out of checkpoints.

    Args:
        model: An MMDetection model that gives masks, its config (``type='MaskRCNN'`` ...), or a config file.
        weights: Weight source of the model; None keeps what it has.
        scale: Longest and shortest side that pictures are brought to before, as the model was trained.
        least_score: Objects below this score are left out, 0..1.
    """

    not_saved_prefixes = ('',)

    def __init__(
        self,
        model: Mapping[str, Any] | nn.Module | str | Path,
        weights: str | Path | None = None,
        scale: tuple[int, int] = (1333, 800),
        least_score: float = 0.05,
    ) -> None:
        super().__init__()
        model = model_of_file(model) if isinstance(model, str | Path) else model
        built: Any = model
        if isinstance(model, Mapping):
            with DefaultScope.overwrite_default_scope('mmdet'):  # a segmentor's config has MMSeg's scope
                built = DETECTORS.build(ConfigDict(model))
        if not (getattr(built, 'with_mask', False) or hasattr(built, 'panoptic_head')):
            raise ValueError(f'{type(built).__name__} finds boxes only; give an instance segmentation model.')
        if weights is not None:
            file = weight_file(resolve(str(weights)))
            load_into(built, read_state_dict(file), source=file)
        self.model: Any = built.eval().requires_grad_(False)
        self.scale, self.least_score = scale, least_score
        leave_out_of_checkpoints(self)

    def train(self, mode: bool = True) -> InstanceModelMasks:
        """Set the mode; the detector stays in evaluation mode."""
        super().train(mode)
        self.model.eval()
        return self

    def find(self, picture: Tensor, meta: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
        """See :meth:`PictureProposer.find`."""
        del meta
        height, width = picture.shape[:2]
        factor = min(max(self.scale) / max(height, width), min(self.scale) / min(height, width))
        size = (max(1, round(height * factor)), max(1, round(width * factor)))
        pixels = picture.permute(2, 0, 1)[None].float()
        pixels = F.interpolate(pixels, size=size, mode='bilinear', align_corners=False, antialias=True)
        sample = DetDataSample(
            metainfo={
                'img_shape': size,
                'ori_shape': (height, width),
                'scale_factor': (size[1] / width, size[0] / height),
            }
        )
        bgr = pixels[0].flip(0).round().clamp(0, 255).byte()  # as read by OpenCV
        prepare = self.model.data_preprocessor
        if isinstance(prepare, BaseDataPreprocessor):
            # It remembers where inputs go, and only MMEngine's own models tell it when they move.
            prepare.to(picture.device)
        data = prepare({'inputs': [bgr], 'data_samples': [sample]}, False)
        result = self.model.predict(**data, rescale=True)[0]
        if 'pred_instances' not in result:
            raise ValueError(
                f'{type(self.model).__name__} gives panoptic maps and no instances: set instance_on=True in its '
                'test_cfg, or take an instance segmentation model.'
            )
        found = result.pred_instances
        found = found[found.scores >= self.least_score]
        return torch.as_tensor(found.masks).bool(), found.scores
