"""A small OVSeg of either backbone, quick enough to run in a test."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from denseclip.models.segmentors import OVSeg

CLASSES = ['sky', 'red car', 'road, route', 'tree']
CLIP = dict(
    model='ViT-B-16',
    quick_gelu=True,
    arch=dict(
        embed_dim=16,
        vision_cfg=dict(image_size=32, patch_size=16, width=16, layers=2, head_width=8),
        text_cfg=dict(width=16, heads=2, layers=1),
    ),
)
SWIN = dict(type='SwinTransformer', embed_dims=8, depths=[1, 2, 1, 1], num_heads=[1, 1, 2, 2], window_size=4)
RESNET = dict(
    type='ResNetV1c',
    depth=50,
    stem_channels=8,
    base_channels=2,
    strides=(1, 2, 2, 2),
    dilations=(1, 1, 1, 1),
    multi_grid=(1, 2, 4),
    contract_dilation=False,
    style='pytorch',
    norm_cfg=dict(type='BN', requires_grad=False),
    norm_eval=True,
    frozen_stages=1,
)
HEAD = dict(
    in_channels=[8, 16, 32, 64],
    feat_channels=32,
    mask_dim=16,
    dim=16,
    num_queries=6,
    num_heads=2,
    ffn_dim=24,
    decoder_layers=2,
    embed_hidden_dim=16,
)
REGIONS = dict(threshold=0.4, prompt_depth=2)


class Pyramid(nn.Module):
    """Four maps of the widths of ``HEAD``, a convolution each."""

    def __init__(self) -> None:
        super().__init__()
        widths, steps = (3, 8, 16, 32, 64), (4, 2, 2, 2)
        self.layers = nn.ModuleList(nn.Conv2d(*pair, k, k) for *pair, k in zip(widths, widths[1:], steps, strict=False))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps of pictures (N, 3, H, W), finest first."""
        maps = [images]
        for layer in self.layers:
            maps.append(layer(maps[-1]).relu())
        return maps[1:]


def tiny_ovseg(backbone: str | nn.Module = 'swin', *, seed: int = 0, stage2: bool = True, **settings: Any) -> OVSeg:
    """A model in evaluation mode with random weights.

    Args:
        backbone: ``'swin'``, ``'resnet'``, or another one.
        seed: Of the weights.
        stage2: With a region classifier.
        settings: Arguments of ``OVSeg``.
    """
    init_default_scope('mmseg')
    torch.manual_seed(seed)
    parts: dict[str, Any] = dict(
        backbone={'swin': SWIN, 'resnet': RESNET}[backbone] if isinstance(backbone, str) else backbone,
        decode_head={**HEAD, **settings.pop('decode_head', {})},
        clip=CLIP,
        region_classifier=REGIONS if stage2 else None,
        vocabulary=CLASSES,
    )
    model = OVSeg(**{**parts, 'templates': 'plain', **settings})
    model.decode_head.pixel_decoder.init_weights()
    model.decode_head.predictor.init_weights()
    return model.eval()


def samples_of(labels: Tensor, ori_shape: tuple[int, int] | None = None) -> list[SegDataSample]:
    """Data samples with label maps (N, H, W) as ground truth."""
    found = []
    for plane in labels:
        sample = SegDataSample(gt_sem_seg=PixelData(data=plane[None]))
        size = tuple(plane.shape)
        sample.set_metainfo(dict(img_shape=size, ori_shape=ori_shape or size))
        found.append(sample)
    return found
