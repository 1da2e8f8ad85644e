"""Small DenseCLIP detectors and batches for them, quick enough to run in a test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from tiny_models import ANY_BACKBONE, DECODER, RESNET, STAGE_CHANNELS, TEXT, VIT, WIDTH
from torch import Tensor

BASES = Path(__file__).parents[2] / 'configs/_base_'
THINGS = ['person', 'traffic light', 'bus', 'cat']
WINDOWED_VIT = dict(VIT, window_size=3, global_blocks=(1, 3), grad_checkpointing=True)
BACKBONES = {'resnet': RESNET, 'vit': WINDOWED_VIT, 'any': ANY_BACKBONE}
CHANNELS = 8
ASSIGNER = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0.0, ignore_iof_thr=-1)
SAMPLER = dict(type='RandomSampler', num=32, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False)
PROPOSALS = dict(nms_pre=50, max_per_img=20, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0)
CODER = dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2])


def detector_config(kind: str = 'retinanet', backbone: str = 'resnet', **overrides: Any) -> dict[str, Any]:
    """Config of a small detector.

    Args:
        kind: ``'retinanet'`` or ``'mask-rcnn'``.
        backbone: ``'resnet'``, ``'vit'`` (windowed) or ``'any'``.
        overrides: Other arguments of the model.
    """
    channels = list(STAGE_CHANNELS[backbone])
    level = 2 if backbone == 'vit' else 3
    vocabulary = overrides.get('vocabulary', THINGS)
    channels[level] += len(vocabulary)
    prompting = overrides.get('prompting', 'post')
    decoder = {'none': None, 'pre': dict(**DECODER, query_dim=WIDTH, out_dim=WIDTH), 'post': DECODER}[prompting]
    parts = _retinanet(channels, len(vocabulary)) if kind == 'retinanet' else _mask_rcnn(channels, len(vocabulary))
    return {
        **dict(
            backbone=BACKBONES[backbone],
            text_encoder=TEXT,
            vocabulary=vocabulary,
            context_decoder=decoder,
            score_concat_index=level,
            pixel_text_loss=dict(type='BoxPixelTextLoss'),
        ),
        **parts,
        **overrides,
    }


def detection_run(kind: str, data: Path, epochs: int) -> Config:
    """Config of a training of a small detector on data in COCO's layout, from the suite's own base files.

    Args:
        kind: ``'retinanet'`` or ``'mask-rcnn'``, which also learns masks.
        data: The data.
        epochs: Of the training; it validates once, at the end.
    """
    masks = kind == 'mask-rcnn'
    made = Config.fromfile(BASES / 'default_runtime_det.py')
    for part in (f'datasets/coco_{"instance" if masks else "detection"}_1333x800.py', 'schedules/adamw_1x_coco.py'):
        made.merge_from_dict(Config.fromfile(BASES / part).to_dict())
    padding = dict(pad_mask=True) if masks else {}
    preprocessor = dict(type='DetDataPreprocessor', bgr_to_rgb=True, pad_size_divisor=32, **padding)
    vocabulary = [f'{name} {k}' for name in ('a', 'b') for k in range(40)]
    made.model = detector_config(kind, vocabulary=vocabulary, data_preprocessor=preprocessor)
    for split, year in (('train', 'train2017'), ('val', 'val2017'), ('test', 'val2017')):
        loader = made[f'{split}_dataloader']
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.data_root = str(data)
        next(step for step in loader.dataset.pipeline if step['type'] == 'Resize')['scale'] = (96, 64)
        if split != 'train':
            made[f'{split}_evaluator'].ann_file = str(data / 'annotations' / f'instances_{year}.json')
    made.train_cfg.update(max_epochs=epochs, val_interval=epochs)
    return made


def _retinanet(channels: list[int], num_classes: int) -> dict[str, Any]:
    # every level is used, also that of stride 4, so that every parameter of every backbone learns
    anchors = dict(octave_base_scale=2, scales_per_octave=1, ratios=[1.0], strides=[4, 8, 16, 32])
    return dict(
        type='DenseCLIPRetinaNet',
        neck=dict(type='FPN', in_channels=channels, out_channels=CHANNELS, num_outs=4),
        bbox_head=dict(
            type='RetinaHead',
            num_classes=num_classes,
            in_channels=CHANNELS,
            stacked_convs=1,
            feat_channels=CHANNELS,
            anchor_generator=dict(type='AnchorGenerator', **anchors),
            bbox_coder=CODER,
            loss_bbox=dict(type='L1Loss'),
        ),
        train_cfg=dict(assigner=ASSIGNER, allowed_border=-1, pos_weight=-1, debug=False),
        test_cfg=dict(
            nms_pre=50, min_bbox_size=0, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10
        ),
    )


def _mask_rcnn(channels: list[int], num_classes: int) -> dict[str, Any]:
    def extractor(size: int) -> dict[str, Any]:
        return dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=size, sampling_ratio=0),
            out_channels=CHANNELS,
            featmap_strides=[4, 8, 16, 32],
        )

    return dict(
        type='DenseCLIPMaskRCNN',
        neck=dict(type='FPN', in_channels=channels, out_channels=CHANNELS, num_outs=4),
        rpn_head=dict(
            type='RPNHead',
            in_channels=CHANNELS,
            feat_channels=CHANNELS,
            anchor_generator=dict(type='AnchorGenerator', scales=[2], ratios=[1.0], strides=[4, 8, 16, 32]),
            bbox_coder=CODER,
            loss_bbox=dict(type='L1Loss'),
        ),
        roi_head=dict(
            type='StandardRoIHead',
            bbox_roi_extractor=extractor(7),
            bbox_head=dict(
                type='Shared2FCBBoxHead',
                in_channels=CHANNELS,
                fc_out_channels=CHANNELS,
                roi_feat_size=7,
                num_classes=num_classes,
                bbox_coder=CODER,
                loss_bbox=dict(type='L1Loss'),
            ),
            mask_roi_extractor=extractor(14),
            mask_head=dict(
                type='FCNMaskHead',
                num_convs=1,
                in_channels=CHANNELS,
                conv_out_channels=CHANNELS,
                num_classes=num_classes,
                loss_mask=dict(type='CrossEntropyLoss', use_mask=True),
            ),
        ),
        train_cfg=dict(
            rpn=dict(assigner=ASSIGNER, sampler=SAMPLER, allowed_border=-1, pos_weight=-1, debug=False),
            rpn_proposal=PROPOSALS,
            rcnn=dict(
                assigner=dict(ASSIGNER, neg_iou_thr=0.5, min_pos_iou=0.5),
                sampler=dict(SAMPLER, add_gt_as_proposals=True),
                mask_size=28,
                pos_weight=-1,
                debug=False,
            ),
        ),
        test_cfg=dict(
            rpn=PROPOSALS,
            rcnn=dict(score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=5, mask_thr_binary=0.5),
        ),
    )


def tiny_detector(kind: str = 'retinanet', backbone: str = 'resnet', **overrides: Any) -> Any:
    """A small detector from the root registry; arguments as of :func:`detector_config`."""
    return MODELS.build(detector_config(kind, backbone, **overrides))


def detection_batch(
    boxes: Sequence[Sequence[Sequence[float]]],
    labels: Sequence[Sequence[int]] | None = None,
    crowd: Sequence[Sequence[Sequence[float]]] | None = None,
    size: tuple[int, int] = (64, 96),
) -> tuple[Tensor, list[DetDataSample]]:
    """Pictures of noise and data samples with ground truth, on the device of the surrounding context.

    Args:
        boxes: ``x1, y1, x2, y2`` of the objects of every picture; their masks are the boxes.
        labels: Their classes; default: all of class 0.
        crowd: Regions to ignore.
        size: Height and width.
    """
    samples = []
    for index, found in enumerate(boxes):
        truth = InstanceData(bboxes=torch.tensor(found, dtype=torch.float32).reshape(-1, 4))
        truth.labels = torch.tensor(labels[index] if labels else [0] * len(found), dtype=torch.long)
        masks = np.zeros((len(found), *size), dtype=np.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, found, strict=True):
            mask[int(y1) : int(y2), int(x1) : int(x2)] = 1
        truth.masks = BitmapMasks(masks, *size)
        ignored = InstanceData(bboxes=torch.tensor(crowd[index] if crowd else []).reshape(-1, 4))
        ignored.labels = torch.zeros(len(ignored.bboxes), dtype=torch.long)
        sample = DetDataSample(gt_instances=truth, ignored_instances=ignored)
        meta = dict(img_shape=size, pad_shape=size, batch_input_shape=size, ori_shape=size)
        sample.set_metainfo(dict(**meta, scale_factor=(1.0, 1.0), img_id=index))
        samples.append(sample)
    return torch.randn(len(boxes), 3, *size), samples


def all_losses(losses: dict[str, Any]) -> dict[str, Tensor]:
    """Losses as tensors; heads give some per level."""
    return {
        name: torch.stack([*value]) if isinstance(value, (list, tuple)) else value
        for name, value in losses.items()
        if 'loss' in name
    }
