"""Small FC-CLIP and MAFT+ models on every kind of trunk, quick enough to run in a test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from denseclip.models.builder import build_module
from denseclip.models.heads.mask2former import PointMaskMatcher

TEXT = dict(width=16, heads=2, layers=1)
TRUNKS: dict[str, dict[str, Any]] = {
    'convnext': dict(
        model='convnext_base_w',
        arch=dict(embed_dim=16, vision_cfg=dict(timm_model_name='test_convnext2', image_size=64), text_cfg=TEXT),
    ),
    'resnet': dict(
        model='RN50',
        arch=dict(
            embed_dim=16, vision_cfg=dict(image_size=64, layers=[1, 1, 1, 1], width=8, head_width=64), text_cfg=TEXT
        ),
    ),
    'vit': dict(
        model='ViT-B-16',
        arch=dict(
            embed_dim=16,
            vision_cfg=dict(image_size=64, patch_size=8, layers=2, width=32, head_width=16),
            text_cfg=TEXT,
        ),
        read_out=dict(attention='value', residual=False, ffn=False),
    ),
}
CLASSES = ['sky', ('car', ['automobile', 'vehicle']), 'road', 'tree']
HEAD = dict(
    dim=32,
    num_queries=6,
    num_layers=2,
    num_heads=4,
    ffn_dim=32,
    pixel_decoder=dict(num_layers=1, ffn_dim=32),
    criterion=dict(num_points=64),
)


def tiny_fcclip(kind: str = 'FCCLIP', trunk: str = 'convnext', seed: int = 0, **settings: Any) -> Any:
    """A model in evaluation mode with random weights; other arguments of the model as ``settings``."""
    torch.manual_seed(seed)
    head = {**HEAD, **settings.pop('head', {})}
    config = dict(type=kind, clip=TRUNKS[trunk], head=head, vocabulary=CLASSES, templates='photo')
    return build_module({**config, **settings}).eval()


def semantic_samples(labels: Tensor, sizes: Sequence[tuple[int, int]] = ()) -> list[SegDataSample]:
    """Data samples with label maps (N, H, W)."""
    samples = []
    for n, label in enumerate(labels):
        sample = SegDataSample(gt_sem_seg=PixelData(data=label[None]))
        size = tuple(label.shape)
        sample.set_metainfo(dict(img_shape=size, ori_shape=sizes[n] if sizes else size))
        samples.append(sample)
    return samples


def stripes(batch: int, size: tuple[int, int] = (64, 64), segments: int = 2) -> list[SegDataSample]:
    """Data samples with segments that are vertical stripes of classes 0, 1 ..., on the surrounding device."""
    samples = []
    for _ in range(batch):
        stripe = torch.arange(size[1]) * segments // size[1]
        masks = stripe.expand(size) == torch.arange(segments)[:, None, None]
        sample = SegDataSample(gt_instances=InstanceData(labels=torch.arange(segments), masks=masks))
        sample.set_metainfo(dict(img_shape=size, ori_shape=size))
        samples.append(sample)
    return samples


@contextmanager
def first_queries_match() -> Iterator[None]:
    """Segment i is matched with query i: no decision on values, for devices that have none."""

    def match(_: Any, class_logits: Tensor, mask_logits: Tensor, targets: Sequence[InstanceData], *__: Any) -> list:
        del mask_logits
        order = [torch.arange(len(t.labels), device=class_logits.device) for t in targets]
        return [(places, places) for places in order]

    with patch.object(PointMaskMatcher, '__call__', match):
        yield
