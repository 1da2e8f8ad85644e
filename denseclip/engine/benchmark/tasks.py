"""What a segmentor, a detector and an anomaly model are given and what they answer, so that one benchmark fits all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmdet.models.detectors.base import BaseDetector
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import TRANSFORMS
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from denseclip.models.anomaly.base import AnomalyModel
from denseclip.structures import AnomalyDataSample

from .plain_open_vocab import is_open_vocabulary

Size = tuple[int, int]
PICTURE: Size = (480, 640)
_BOXES = 8
_BLOCK = 64
"""Side of a patch of one class, in pixels: matching takes longer the more segments there are."""


@dataclass(frozen=True)
class InputSize:
    """Sizes (height, width) of a picture.

    Attributes:
        input: What the network gets.
        original: What results are made for.
    """

    input: Size
    original: Size

    @property
    def meta(self) -> dict[str, Any]:
        """Meta information of a data sample."""
        height, width = (a / b for a, b in zip(self.input, self.original, strict=True))
        return {
            'img_shape': self.input,
            'ori_shape': self.original,
            'pad_shape': self.input,
            'scale_factor': (width, height),
        }


def input_size(config: Config, picture: Size) -> InputSize:
    """Size that a picture has after the resizing of a config's test pipeline; unchanged where there is none."""
    dataset = config.get('test_dataloader', {}).get('dataset', {})
    while 'pipeline' not in dataset and 'dataset' in dataset:
        dataset = dataset['dataset']
    for step in dataset.get('pipeline', ()):
        if 'Resize' in step['type']:
            results = TRANSFORMS.build(step)({'img': np.zeros((*picture, 3), np.uint8), 'img_shape': picture})
            height, width = results['img'].shape[:2]
            return InputSize((height, width), picture)
    return InputSize(picture, picture)


class Task:
    """How a kind of model is run.

    Args:
        model: The model.

    Attributes:
        tolerance: Most that results of two versions may differ by.
    """

    tolerance = 0.0

    def __init__(self, model: Any) -> None:
        self.model = model

    @property
    def num_classes(self) -> int:
        """Classes that the model tells apart."""
        counted = self.model if hasattr(self.model, 'num_classes') else self.model.decode_head
        return int(counted.num_classes)

    def sample(self, size: InputSize, train: bool, generator: torch.Generator) -> Any:
        """One picture's data sample, with a random ground truth for training."""
        found = SegDataSample(metainfo=size.meta)
        if train:
            height, width = size.input
            blocks = (1, math.ceil(height / _BLOCK), math.ceil(width / _BLOCK))
            labels = torch.randint(0, self.num_classes, blocks, generator=generator)
            labels = labels.repeat_interleave(_BLOCK, 1).repeat_interleave(_BLOCK, 2)[:, :height, :width]
            found.gt_sem_seg = PixelData(data=labels)
        return found

    def results(self, samples: Sequence[Any]) -> dict[str, Tensor]:
        """What both versions of a model must agree on."""
        maps = {'label map': 'pred_sem_seg', 'panoptic map': 'pred_panoptic_seg'}  # as the task of the config has it
        given = {name: key for name, key in maps.items() if key in samples[0]}
        return {name: torch.stack([sample.get(key).data for sample in samples]).long() for name, key in given.items()}


class DetectionTask(Task):
    """Boxes and, where the model gives them, masks."""

    @property
    def num_classes(self) -> int:
        """Classes that the model tells apart."""
        head = getattr(self.model, 'bbox_head', None) or self.model.roi_head.bbox_head
        return int(head.num_classes)

    def sample(self, size: InputSize, train: bool, generator: torch.Generator) -> DetDataSample:
        """See :meth:`Task.sample`."""
        found = DetDataSample(metainfo={**size.meta, 'batch_input_shape': size.input, 'img_id': 0})
        if train:
            found.gt_instances, found.ignored_instances = random_objects(
                size.input, _BOXES, self.num_classes, generator
            )
        return found

    def results(self, samples: Sequence[Any]) -> dict[str, Tensor]:
        """See :meth:`Task.results`."""
        found = [sample.pred_instances for sample in samples]
        names = [name for name in ('bboxes', 'scores', 'labels', 'masks') if name in found[0]]
        return {name: torch.cat([instances[name] for instances in found]) for name in names}


class AnomalyTask(Task):
    """A map and a score per picture."""

    num_classes = 2
    tolerance = 1e-5  # probabilities; the versions add up in another order

    def sample(self, size: InputSize, train: bool, generator: torch.Generator) -> AnomalyDataSample:
        """See :meth:`Task.sample`; the picture shows a ``'part'`` unless the model knows better."""
        del train, generator
        return AnomalyDataSample(metainfo={**size.meta, 'category': 'part'})

    def results(self, samples: Sequence[Any]) -> dict[str, Tensor]:
        """See :meth:`Task.results`."""
        return {
            'anomaly map': torch.cat([sample.anomaly_map.data.flatten() for sample in samples]),
            'score': torch.tensor([sample.pred_score for sample in samples]),
        }


def task_of(model: Any) -> Task | None:
    """The task of a model; None if it is of another kind."""
    if isinstance(model, AnomalyModel):
        return AnomalyTask(model)
    if isinstance(model, BaseDetector):
        return DetectionTask(model)
    return Task(model) if hasattr(model, 'decode_head') or is_open_vocabulary(model) else None


def random_objects(
    size: tuple[int, int], boxes: int, classes: int, generator: torch.Generator
) -> tuple[InstanceData, InstanceData]:
    """Random boxes, their masks filled, and none to be ignored.

    Args:
        size: Height and width of the picture.
        boxes: How many.
        classes: Number of classes.
        generator: Source of randomness.
    """
    scale = torch.tensor([size[1], size[0]], device='cpu')
    corners = torch.rand(boxes, 2, generator=generator) * scale * 0.6
    sides = (0.1 + 0.3 * torch.rand(boxes, 2, generator=generator)) * scale
    found = torch.cat([corners, corners + sides], dim=1)
    masks = torch.zeros((boxes, *size), dtype=torch.uint8, device='cpu')
    for mask, (x1, y1, x2, y2) in zip(masks, found.long(), strict=True):
        mask[y1:y2, x1:x2] = 1
    truth = InstanceData(bboxes=found)
    truth.labels = torch.randint(0, classes, (boxes,), generator=generator)
    truth.masks = BitmapMasks(masks.numpy(), *size)
    return truth, InstanceData(bboxes=found[:0])
