"""Which parts of a model are regions, see :mod:`denseclip.core.regions`: they are known by their classes."""

from __future__ import annotations

from collections.abc import Iterator

from mmcv.cnn.bricks.transformer import FFN
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.models.layers.transformer import DetrTransformerEncoderLayer
from mmdet.models.necks import FPN as DetFPN
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmseg.models.backbones.resnet import BasicBlock as SegBasicBlock
from mmseg.models.backbones.resnet import Bottleneck as SegBottleneck
from mmseg.models.backbones.swin import WindowMSA
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.necks import FPN as SegFPN
from open_clip.modified_resnet import Bottleneck as CLIPBottleneck
from open_clip.transformer import ResidualAttentionBlock
from timm.models.convnext import ConvNeXtBlock
from timm.models.eva import EvaBlock
from timm.models.vision_transformer import Block
from timm.models.vision_transformer_relpos import RelPosBlock
from torch import nn

from denseclip.models.heads.cdt import ContentDependentTransfer
from denseclip.models.heads.context_decoder import ContextDecoder
from denseclip.models.heads.dinoiser import DINOiserHead
from denseclip.models.heads.mask2former.classifiers import TextClassifier
from denseclip.models.heads.mask2former.criterion import MaskCriterion
from denseclip.models.heads.mask2former.layers import MaskedDecoderLayer
from denseclip.models.heads.mask2former.pixel_decoder import DeformableEncoderLayer, DeformablePixelDecoder
from denseclip.models.heads.maskformer.predictor import QueryPredictor
from denseclip.models.heads.maskformer.transformer import DecoderLayer, EncoderLayer

BLOCKS: tuple[type[nn.Module], ...] = (
    Block,
    EvaBlock,
    RelPosBlock,
    ConvNeXtBlock,
    CLIPBottleneck,
    SegBasicBlock,
    SegBottleneck,
    WindowMSA,
    FFN,
)
"""Blocks of image encoders."""
LAYERS: tuple[type[nn.Module], ...] = (
    DeformableEncoderLayer,
    MaskedDecoderLayer,
    TextClassifier,
    EncoderLayer,
    DecoderLayer,
    QueryPredictor,
    DetrTransformerEncoderLayer,
    ContextDecoder,
    ContentDependentTransfer,
    DINOiserHead,
)
"""Layers of decoders."""
HEADS: tuple[type[nn.Module], ...] = (SegFPN, DetFPN, BaseDecodeHead, AnchorHead, BBoxHead, FCNMaskHead)
"""Necks and heads."""
CALLED: tuple[type[nn.Module], ...] = (ResidualAttentionBlock,)
"""Modules that functions of the suite run, instead of their ``forward``."""
FORGETFUL: tuple[type[nn.Module], ...] = (DeformablePixelDecoder, MaskCriterion)
"""Modules with functions that may compute their activations again, and make no graphs: losses draw points."""
_TEXT = ('text', 'text_tower', 'text_encoder', 'texts')


def regions_of(model: nn.Module, text: bool = False) -> tuple[list[nn.Module], list[nn.Module]]:
    """The regions of a model.

    Args:
        model: The model.
        text: Whether its text towers have some: a vocabulary is read once, unless it is learned.

    Returns:
        Modules whose ``forward`` is a region; modules that region functions run.
    """
    kinds = (*BLOCKS, *LAYERS, *HEADS)
    whole, called = [], []
    for module in model.modules() if text else _looked_at(model):
        if isinstance(module, CALLED):
            called.append(module)
        elif isinstance(module, kinds) and type(module).forward is not nn.Module.forward:
            whole.append(module)
    return whole, called


def forgetful_of(model: nn.Module) -> list[nn.Module]:
    """Modules whose marked functions may compute their activations again; see ``FORGETFUL``."""
    return [module for module in model.modules() if isinstance(module, FORGETFUL)]


def layers_of(model: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """The regions that a model has many of, text towers included: blocks and layers.

    Returns:
        As :func:`regions_of`, each module once.
    """
    whole, called = regions_of(model, text=True)
    return [module for module in whole if not isinstance(module, HEADS)], called


def _looked_at(model: nn.Module) -> Iterator[nn.Module]:
    """Modules that see pictures."""
    for name, module in model.named_modules():
        if not any(part in _TEXT for part in name.split('.')):
            yield module
