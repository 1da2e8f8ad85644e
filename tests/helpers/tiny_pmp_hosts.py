"""Small hosts of prompt-guided proposals, with and without their guide."""

from __future__ import annotations

import copy
import functools
from typing import Any

import tiny_fcclip
import torch
from mmengine.config import ConfigDict
from mmengine.hub import get_config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from denseclip.models.builder import build_module

CLASSES = {'sky': [], 'car': ['automobile', 'vehicle'], 'road': ['street'], 'tree': []}
CLIP = dict(
    model='ViT-B-16',
    arch=dict(
        embed_dim=16,
        vision_cfg=dict(image_size=64, patch_size=8, layers=2, width=32, head_width=8),
        text_cfg=dict(width=16, heads=2, layers=1, context_length=20),
    ),
)
HEAD: dict[str, Any] = {**tiny_fcclip.HEAD, 'criterion': dict(num_points=32)}
FCCLIP = dict(
    type='FCCLIP',
    clip=CLIP,
    head=HEAD,
    vocabulary='car; road; sky',
    templates='photo',
    things=['car'],
    test_cfg=dict(task='semantic', score_threshold=0.0, overlap_threshold=0.0),
)
"""FC-CLIP that gives all three tasks."""
RESNET = dict(
    type='ResNet', depth=18, num_stages=4, out_indices=(0, 1, 2, 3), base_channels=8, norm_cfg=dict(type='BN')
)
OVSEG_HEAD = dict(
    in_channels=[8, 16, 32, 64],
    feat_channels=32,
    mask_dim=32,
    dim=32,
    num_queries=6,
    num_heads=4,
    ffn_dim=32,
    decoder_layers=2,
    embed_hidden_dim=32,
)
HOSTS = ['FCCLIP', 'MAFTPlus', 'OVSeg']


def tiny_host(host: str = 'FCCLIP', *, guided: bool = True, seed: int = 0, **settings: Any) -> Any:
    """FC-CLIP, MAFT+, OVSeg or MMSeg's Mask2Former, prompt-guided or as it is, in evaluation mode.

    Args:
        host: ``'FCCLIP'``, ``'MAFTPlus'``, ``'OVSeg'`` or ``'Mask2Former'``.
        guided: With a prompt guide.
        seed: Of the weights.
        settings: Arguments of the segmentor.
    """
    init_default_scope('mmseg')
    torch.manual_seed(seed)
    config: dict[str, Any] = {'templates': 'photo', 'vocabulary': CLASSES, 'clip': CLIP, **settings}
    if host == 'Mask2Former':
        config.update({**mask2former(), **settings})
        if not guided:
            config = {**mask2former(), 'type': 'EncoderDecoder'}
            config['decode_head'] = {**config['decode_head'], 'type': 'Mask2FormerHead'}
    elif host == 'OVSeg':
        config.update(type='PMPOVSeg' if guided else 'OVSeg', backbone=RESNET, decode_head=OVSEG_HEAD)
    else:
        config.update(type=f'PMP{host}' if guided else host, head=HEAD)
        if host == 'MAFTPlus':
            config['transfer'] = dict(num_heads=4)
    model = build_module(config).eval()
    if hasattr(model, 'forget_pretrained') and 'clip' not in settings:
        model.forget_pretrained()  # random weights are meant
    return model


@functools.cache
def published_mask2former() -> ConfigDict:
    """The model of MMSeg's own config; MMEngine parses a long YAML file to find it."""
    return get_config('mmseg::mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py').model


def mask2former() -> dict[str, Any]:
    """MMSeg's own Mask2Former config with a few queries and narrow layers."""
    model = copy.deepcopy(published_mask2former())
    head, width = model.decode_head, len(CLASSES)
    head.update(in_channels=[8, 16, 32, 64], feat_channels=32, out_channels=32, num_queries=6, num_classes=width)
    head.loss_cls.class_weight = [1.0] * width + [0.1]
    head.train_cfg.num_points = 32
    encoder, decoder = head.pixel_decoder.encoder, head.transformer_decoder
    encoder.num_layers, decoder.num_layers = 1, 2
    encoder.layer_cfg.self_attn_cfg.update(embed_dims=32, num_heads=4)
    encoder.layer_cfg.ffn_cfg.update(embed_dims=32, feedforward_channels=32)
    for attention in (decoder.layer_cfg.self_attn_cfg, decoder.layer_cfg.cross_attn_cfg):
        attention.update(embed_dims=32, num_heads=4)
    decoder.layer_cfg.ffn_cfg.update(embed_dims=32, feedforward_channels=32)
    for part in (head, head.pixel_decoder):
        part.positional_encoding.num_feats = 16
    head.type = 'GuidedMask2FormerHead'
    return dict(
        type='PMPMask2Former',
        backbone=RESNET,
        decode_head=head,
        data_preprocessor=dict(type='SegDataPreProcessor', size=(64, 64), pad_val=0, seg_pad_val=255),
        test_cfg=dict(mode='whole'),
        train_cfg=dict(),
    )


def awake_host(host: str = 'FCCLIP', **settings: Any) -> Any:
    """A guided host whose gates are open."""
    model = tiny_host(host, **settings)
    with torch.no_grad():
        for layer in model.prompt_guide.layers.values():
            layer.gamma.normal_(generator=torch.Generator().manual_seed(1))
    return model


def pictures(batch: int = 2, size: tuple[int, int] = (64, 64), **meta: Any) -> tuple[Tensor, list[SegDataSample]]:
    """Random pictures; the upper half is class 0, the lower one 2 (or 3 in every other picture), a corner ignored."""
    images = torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(5))
    samples = []
    for index in range(batch):
        labels = torch.zeros(1, *size, dtype=torch.long)
        labels[:, size[0] // 2 :] = 2 + index % 2
        labels[:, :8, :8] = 255
        sample = SegDataSample(gt_sem_seg=PixelData(data=labels))
        sample.set_metainfo(dict(img_shape=size, pad_shape=size, ori_shape=size, **meta))
        samples.append(sample)
    return images, samples


def with_instances(samples: list[SegDataSample]) -> list[SegDataSample]:
    """The same ground truth as instances."""
    for sample in samples:
        labels = sample.gt_sem_seg.data
        present = labels.unique()
        present = present[present < len(CLASSES)]
        sample.gt_instances = InstanceData(labels=present, masks=labels == present[:, None, None])
    return samples
