"""Segments that a mask generator learns from: one binary mask per class, or per thing and stuff region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor


def mask_targets(
    samples: Sequence[Any], num_classes: int, size: tuple[int, int], device: torch.device
) -> list[InstanceData]:
    """Segments of each picture of a batch.

    A sample with ``gt_instances`` gives its masks and labels (all segments of a panoptic annotation, or instances);
    one with ``gt_sem_seg`` alone gives a mask for each class in it. Labels outside of the vocabulary (255, 65535) are
    not annotated: no mask covers them. Pictures without any segment have empty masks.

    Args:
        samples: Data samples.
        num_classes: Size of the training vocabulary.
        size: Height and width of the padded batch; masks are padded at the right and bottom.
        device: Where the segments go.

    Returns:
        ``labels`` (S,), int64, and ``masks`` bool (S, H, W) per picture.

    Raises:
        ValueError: If a sample has no annotation, an instance a label outside of the vocabulary, or masks are larger
            than the batch.
    """
    targets = []
    for sample in samples:
        if 'gt_instances' in sample:
            labels, masks = _instances(sample, num_classes, size, device)
        elif 'gt_sem_seg' in sample:
            labels, masks = _classes(sample.gt_sem_seg.data.squeeze(0).to(device), num_classes)
        else:
            raise ValueError(
                f"{sample.metainfo.get('img_path', 'a picture')} has neither 'gt_instances' nor 'gt_sem_seg': add "
                'LoadAnnotations to the training pipeline.'
            )
        targets.append(InstanceData(labels=labels, masks=_pad(masks, size)))
    return targets


def _classes(label_map: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    present = label_map.long().flatten()
    present = present[(present >= 0) & (present < num_classes)].unique()
    return present, label_map == present[:, None, None]


def _instances(sample: Any, num_classes: int, size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    labels, masks = sample.gt_instances.labels.to(device).long(), sample.gt_instances.masks
    if not isinstance(masks, Tensor):  # mmdet's BitmapMasks or PolygonMasks
        masks = masks.to_tensor(dtype=torch.bool, device=device)
    if labels.device.type == 'cpu' and labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(
            f'instance labels {sorted(set(labels.tolist()))} are not all below {num_classes}, the size of the training '
            'vocabulary: give train_vocabulary the classes of the data set, in its order.'
        )
    return labels, masks.to(device=device, dtype=torch.bool).reshape(-1, *(masks.shape[-2:] if len(masks) else size))


def _pad(masks: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = size[0] - masks.shape[-2], size[1] - masks.shape[-1]
    if height < 0 or width < 0:
        raise ValueError(f'masks of {tuple(masks.shape[-2:])} pixels do not fit into pictures of {size}.')
    return F.pad(masks, (0, width, 0, height)) if height or width else masks
