"""Which parts of the hosts a shared config may ask for: those that the configs of this suite are made of.

A registered part need not be harmless: some of the hosts' read files or evaluate text that they are given. So it takes
a part on this list; ``tests/apis/test_pretrained_types.py`` holds the list and the published configs together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

OWN = 'denseclip'
HOST_TYPES = frozenset(
    {
        'mmcv.LoadImageFromFile',
        'mmdet.AnchorGenerator',
        'mmdet.ClassificationCost',
        'mmdet.CrossEntropyLoss',
        'mmdet.CrossEntropyLossCost',
        'mmdet.DeltaXYWHBBoxCoder',
        'mmdet.DetDataPreprocessor',
        'mmdet.DiceCost',
        'mmdet.DiceLoss',
        'mmdet.FCNMaskHead',
        'mmdet.FPN',
        'mmdet.FocalLoss',
        'mmdet.HungarianAssigner',
        'mmdet.L1Loss',
        'mmdet.LoadAnnotations',
        'mmdet.MSDeformAttnPixelDecoder',
        'mmdet.MaskPseudoSampler',
        'mmdet.MaskRCNN',
        'mmdet.MaxIoUAssigner',
        'mmdet.PackDetInputs',
        'mmdet.PseudoSampler',
        'mmdet.RPNHead',
        'mmdet.RandomSampler',
        'mmdet.ResNet',
        'mmdet.Resize',
        'mmdet.RetinaHead',
        'mmdet.RetinaNet',
        'mmdet.Shared2FCBBoxHead',
        'mmdet.SingleRoIExtractor',
        'mmdet.StandardRoIHead',
        'mmdet.SwinTransformer',
        'mmengine.ImgDataPreprocessor',
        'mmengine.SyncBN',
        'mmseg.CrossEntropyLoss',
        'mmseg.EncoderDecoder',
        'mmseg.FPN',
        'mmseg.FPNHead',
        'mmseg.LoadAnnotations',
        'mmseg.PackSegInputs',
        'mmseg.ResNet',
        'mmseg.ResNetV1c',
        'mmseg.Resize',
        'mmseg.SegDataPreProcessor',
        'mmseg.SwinTransformer',
        'torch.BN',
        'torch.GELU',
        'torch.GN',
        'torch.LN',
        'torch.ReLU',
    }
)
"""``package.Name``: the package that a part is from, and the name that it is registered by."""

UNREGISTERED = ('nms', 'soft_nms', 'RoIAlign')
"""Functions and layers that the hosts find by name: MMCV evaluates that of a suppression as Python."""


def found_types(name: str, scope: str) -> frozenset[str]:
    """What a name means to the registries of models, transforms and task utilities.

    Args:
        name: A type without its scope.
        scope: Where it is looked for first.

    Returns:
        ``package.Name`` of each class or function that is registered by it; empty: none is.
    """
    from mmengine import registry as registries

    found = set()
    for root in (registries.MODELS, registries.TRANSFORMS, registries.TASK_UTILS):
        with root.switch_scope_and_registry(scope) as registry:
            try:
                part = registry.get(name)
            except RuntimeError:  # it is not there
                continue
        # What is not in a registry by this name was imported by it.
        if part is not None and any(part is one.module_dict.get(name) for one in (root, *children(root))):
            found.add(f'{part.__module__.partition(".")[0]}.{name}')
    return frozenset(found)


def children(registry: Any) -> Iterator[Any]:
    """The registries below one, at any depth."""
    for child in registry.children.values():
        yield child
        yield from children(child)
