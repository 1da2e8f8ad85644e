"""One small model of every registered kind that takes words, each told four of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmengine.registry import init_default_scope
from tiny_detectors import tiny_detector
from tiny_dinoiser import CLIP as DINOISER_CLIP
from tiny_dinoiser import tiny_dinoiser, tiny_maskclip_plus
from tiny_fcclip import tiny_fcclip
from tiny_models import tiny_denseclip
from tiny_open_vocab import tiny_open_vocab
from tiny_ovseg import tiny_ovseg
from tiny_pmp_hosts import tiny_host
from tiny_sam import tiny_sam3
from tiny_spar import tiny_spar
from tiny_two_stage import random_masks, tiny_two_stage

from denseclip.models.builder import build_module
from denseclip.models.segmentors.mask_results import WritesTasks

FOUR = ['background', 'car', 'road', 'tree']
EMBEDDING_SIZE = 16
PIXELS = dict(
    type='SegDataPreProcessor',
    mean=[122.771, 116.746, 104.094],
    std=[68.501, 66.632, 70.323],
    bgr_to_rgb=True,
    size_divisor=32,
    pad_val=0,
    seg_pad_val=255,
)


def _dino_clip() -> Any:
    init_default_scope('mmseg')
    clip = dict(**DINOISER_CLIP, preset='maskclip')
    return build_module(dict(type='DinoCLIP', clip=clip, vocabulary=FOUR, templates='photo', **_teachers()))


def _teachers() -> dict[str, Any]:
    from tiny_dinoiser import TEACHERS

    return TEACHERS


def _four(make: Callable[..., Any], *args: Any, **settings: Any) -> Callable[[], Any]:
    return lambda: make(*args, vocabulary=FOUR, **settings)


MODELS_WITH_WORDS: dict[str, Callable[[], Any]] = {
    'MaskCLIP': _four(tiny_open_vocab),
    'ResCLIP': _four(tiny_open_vocab, 'resclip'),
    'CLIP-DINOiser': _four(tiny_dinoiser, teachers=False),
    'Trident': _four(tiny_open_vocab, 'trident'),
    'SPAR': _four(tiny_spar),
    'DinoCLIP': _dino_clip,
    'MaskCLIP+': _four(tiny_maskclip_plus, data_preprocessor=PIXELS),
    'DenseCLIP': _four(tiny_denseclip, data_preprocessor=PIXELS),
    'DenseCLIP, open': _four(tiny_denseclip, open_vocabulary=True, data_preprocessor=PIXELS),
    'DenseCLIP RetinaNet': _four(tiny_detector),
    'DenseCLIP Mask R-CNN': _four(tiny_detector, 'mask-rcnn'),
    'two stages': lambda: tiny_two_stage(random_masks(3, (16, 16))),
    'OVSeg': _four(tiny_ovseg),
    'FC-CLIP': _four(tiny_fcclip),
    'MAFT+': _four(tiny_fcclip, 'MAFTPlus', transfer=dict(num_heads=4)),
    'Mask-Adapter': _four(tiny_fcclip, adapter=dict(channels=8, mask_channels=8, num_maps=2)),
    'PMP, FC-CLIP': _four(tiny_host),
    'PMP, MAFT+': _four(tiny_host, 'MAFTPlus'),
    'PMP, OVSeg': _four(tiny_host, 'OVSeg'),
    'SAM 3': _four(tiny_sam3),
    'PMP, Mask2Former': lambda: tiny_host('Mask2Former'),
}
CLOSED = {'DenseCLIP', 'DenseCLIP RetinaNet', 'DenseCLIP Mask R-CNN', 'PMP, Mask2Former'}
"""Models whose weights hold the number of classes."""
WRITES_TASKS = (WritesTasks,)
