"""Our DenseCLIP with the sizes of one of the authors' model configs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.registry import init_default_scope
from torch import Tensor, nn

from denseclip.models.backbones import AttentionPoolBackbone, CLIPResNet
from denseclip.models.builder import build_module
from denseclip.models.heads import ContextDecoder
from denseclip.models.segmentors import DenseCLIP

from .denseclip_modules import AUTHORS_POOL_HEADS, clip_vit, text_encoder

_OLD_HEAD_KEYS = ('in_channels', 'channels', 'num_classes')


class GivenFeatures(nn.Module):
    """A backbone that returns what it is told, for fixtures that start behind the backbone."""

    def __init__(self, features: Sequence[Any]) -> None:
        super().__init__()
        self.features = features

    def forward(self, x: Tensor) -> tuple[Any, ...]:
        return tuple(self.features)


def build_backbone(config: dict[str, Any]) -> nn.Module:
    """Backbone of an authors' config, or of a fixture author's probe of the any-backbone variant."""
    kind = config['type']
    if kind == 'CLIPResNetWithAttention':
        names = ('layers', 'width', 'input_resolution')
        sizes = {name: config[name] for name in names if name in config}
        return CLIPResNet(**sizes, embed_dim=config['output_dim'], heads=AUTHORS_POOL_HEADS)
    if kind == 'CLIPVisionTransformer':
        return clip_vit(config)
    assert kind == 'AnyBackboneProbe', f'unknown backbone {kind}'
    trunk = dict(type='ResNet', depth=config['depth'], base_channels=config['base_channels'])
    return AttentionPoolBackbone(
        trunk=dict(**trunk, stem_channels=config['base_channels']),
        in_channels=config['embed_dim'],
        embed_dim=config['out'],
        num_heads=config['heads'],
        spatial_size=config['spacial_dim'],
    )


def context_decoder(config: dict[str, Any]) -> ContextDecoder:
    names = ('visual_dim', 'transformer_width', 'transformer_heads', 'transformer_layers', 'dropout')
    return ContextDecoder(**{name: config[name] for name in names if name in config})


def build_model(config: dict[str, Any], backbone: nn.Module | None = None, **overrides: Any) -> DenseCLIP:
    """DenseCLIP of an authors' config.

    Args:
        config: The config, as manifests quote it.
        backbone: Instead of the config's.
        overrides: Further arguments of ``DenseCLIP``.
    """
    init_default_scope('mmseg')
    text = config['text_encoder']
    arguments: dict[str, Any] = dict(
        backbone=backbone if backbone is not None else build_backbone(config['backbone']),
        text_encoder=text_encoder(text),
        vocabulary=config['class_names'],
        context_decoder=context_decoder(config['context_decoder']),
        num_contexts=text['context_length'] - config['context_length'],
        context_length=config['context_length'],
        tau=config.get('tau', 0.07),
        score_concat_index=config['score_concat_index'],
        text_head=config.get('text_head', False),
        neck=config.get('neck'),
        decode_head=config.get('decode_head') or _smallest_head(len(config['class_names'])),
        data_preprocessor=dict(type='SegDataPreProcessor'),
        train_cfg=config.get('train_cfg'),
        test_cfg={**config.get('test_cfg', {}), 'keep_logits': True},
    )
    if 'identity_head' in config:
        arguments['identity_head'] = {k: v for k, v in config['identity_head'].items() if k not in _OLD_HEAD_KEYS}
    return DenseCLIP(**{**arguments, **overrides})


def _smallest_head(num_classes: int) -> nn.Module:
    return build_module(
        dict(type='FCNHead', in_channels=1, channels=1, num_convs=0, concat_input=False, num_classes=num_classes)
    )
