"""Checks of DenseCLIP's single modules."""

from __future__ import annotations

import pytest
import torch
from open_clip.modified_resnet import AttentionPool2d
from torch import Tensor

from denseclip.clip.text import PromptTooLongError
from denseclip.clip.towers import attention_pool
from denseclip.models.backbones import CLIPResNet, CLIPVisionTransformer
from denseclip.models.builder import build_module
from denseclip.models.heads import ContextDecoder, IdentityHead
from denseclip.models.text_encoders import CLIPTextContextEncoder
from denseclip.models.text_encoders.class_text import ClassText
from denseclip.weights import load_into, strip_prefix
from denseclip.weights.convert import convert

from .fixtures import Fixture
from .registry import consumes
from .samples import data_samples, expected_accuracy

AUTHORS_POOL_HEADS = 32
"""The authors' attention pool always has 32 heads, whatever its width: a rule of their code, no fixture's number."""


def load_part(module: torch.nn.Module, fixture: Fixture, theirs: str, ours: str) -> None:
    """Load a fixture's weights into a part of a model through the checkpoint converter.

    Args:
        module: The part.
        fixture: Its weights, named as inside the part.
        theirs: Where the part sits in the authors' checkpoints, such as ``'backbone.'``.
        ours: Where it sits in ours.
    """
    load_into(module, strip_prefix(convert(fixture.state(theirs), 'denseclip'), ours), source=fixture.id)


def pad_tokens(tokens: Tensor, length: int) -> Tensor:
    return torch.nn.functional.pad(tokens, (0, length - tokens.shape[1]))


def text_encoder(config: dict, **kwargs) -> CLIPTextContextEncoder:
    """Text encoder with the sizes of an authors' config (``style`` and the like mean nothing there either)."""
    names = (
        'context_length',
        'vocab_size',
        'embed_dim',
        'transformer_width',
        'transformer_heads',
        'transformer_layers',
    )
    sizes = {name: config[name] for name in names if name in config}
    return CLIPTextContextEncoder(**sizes, frozen=False, **kwargs)


@consumes('denseclip', 'tokenizer')
def check_tokenizer(fixture: Fixture) -> None:
    manifest = fixture.manifest
    lengths = [int(m.group(1)) for m in fixture.outputs(r'tokens_ctx(\d+)')]
    sizes = dict(transformer_width=8, transformer_heads=1, transformer_layers=1, embed_dim=4)
    encoder = CLIPTextContextEncoder(context_length=max(lengths), **sizes)
    for length in lengths:
        tokens = encoder.tokenize(manifest[f'strings_ctx{length}'], length)
        fixture.expect(f'tokens_ctx{length}', pad_tokens(tokens, length))
        cut = encoder.tower.tokenize(manifest['all_strings'], length, truncate=True)
        fixture.expect(f'tokens_ctx{length}_truncate', pad_tokens(cut, length))
        for text in manifest[f'raises_RuntimeError_ctx{length}']:
            with pytest.raises(PromptTooLongError):
                encoder.tokenize([text], length)
    for match in fixture.outputs(r'class_tokens_ctx(\d+)'):
        class_text = ClassText(context_length=int(match.group(1)))
        class_text.set_vocabulary(manifest['class_names'], encoder)
        fixture.expect(match.group(), pad_tokens(class_text.tokens, int(match.group(1))))


@consumes('denseclip', 'text_encoder')
@torch.no_grad()
def check_text_encoder(fixture: Fixture) -> None:
    encoder = text_encoder(fixture.config)
    load_part(encoder, fixture, 'text_encoder.', 'text_encoder.')
    fixture.expect('text', encoder(fixture.input('tokens'))[0])


@consumes('denseclip', 'text_context_encoder')
@torch.no_grad()
def check_text_context_encoder(fixture: Fixture) -> None:
    encoder = text_encoder(fixture.config)
    load_part(encoder, fixture, 'text_encoder.', 'text_encoder.')
    for match in fixture.outputs(r'text_(\w+)'):
        fixture.expect(match.group(), encoder(fixture.input('tokens'), fixture.input(f'contexts_{match.group(1)}')))


@consumes('denseclip', 'attnpool_bilinear', 'attnpool_crop')
@torch.no_grad()
def check_attention_pool(fixture: Fixture) -> None:
    config = fixture.config
    side = config['spacial_dim']
    pool = AttentionPool2d(side, config['embed_dim'], config['num_heads'], config['output_dim'])
    load_part(pool, fixture, 'backbone.attnpool.', 'backbone.tower.visual.attnpool.')
    how = 'crop' if 'crop' in fixture.name else 'bilinear'
    for index, x in fixture.inputs('x'):
        pooled, dense = attention_pool(pool, x, pos_resize=how)
        fixture.expect(f'global{index}', pooled)
        fixture.expect(f'map{index}', dense)
    if 'larger_input_than_grid' in fixture.manifest:
        with pytest.raises(ValueError, match='larger than'):
            attention_pool(pool, torch.zeros(1, config['embed_dim'], side + 1, side), pos_resize=how)


def expect_features(fixture: Fixture, run: str, stage: str, start: int, features: tuple) -> None:
    """Compare stage features and, where the fixture has them, the pooled and dense embeddings."""
    stages = [f for f in features if isinstance(f, Tensor)]
    for offset, feature in enumerate(stages):
        fixture.expect(f'{run}.{stage}{start + offset}', feature)
    if len(features) > len(stages):
        fixture.expect(f'{run}.global', features[-1][0])
        fixture.expect(f'{run}.map', features[-1][1])


@consumes('denseclip', 'clip_resnet', 'clip_resnet_attn')
@torch.no_grad()
def check_clip_resnet(fixture: Fixture) -> None:
    config = fixture.config
    backbone = CLIPResNet(
        layers=config['layers'],
        width=config['width'],
        embed_dim=config.get('output_dim'),
        input_resolution=config.get('input_resolution'),
        heads=AUTHORS_POOL_HEADS,
        with_pixel_text='output_dim' in config,
    )
    for index, x in fixture.inputs('x'):
        for run in ('eval', 'train'):
            if not any(fixture.outputs(rf'{run}{index}\..*')):
                continue
            load_part(backbone, fixture, 'backbone.', 'backbone.')
            backbone.train(run == 'train')
            expect_features(fixture, f'{run}{index}', 'stage', 1, backbone(x))
            expect_state(fixture, f'{run}{index}.after', backbone, 'backbone.')


def expect_state(fixture: Fixture, stem: str, module: torch.nn.Module, place: str = '') -> None:
    """Compare entries of a module's state (under the authors' names) with ``out.<stem>.<key>``."""
    state = {place + key: value for key, value in module.state_dict().items()}
    state = strip_prefix(convert(state, 'denseclip', inverse=True), place)
    for match in fixture.outputs(rf'{stem}\.(.+)'):
        fixture.expect(match.group(), state[match.group(1)])


@consumes('denseclip', 'clip_vit')
@torch.no_grad()
def check_clip_vit(fixture: Fixture) -> None:
    backbone = clip_vit(fixture.config).eval()
    load_part(backbone, fixture, 'backbone.', 'backbone.')
    for index, x in fixture.inputs('x'):
        expect_features(fixture, str(index), 'feat', 0, backbone(x))


def clip_vit(config: dict, **kwargs) -> CLIPVisionTransformer:
    """ViT with the sizes of an authors' config and their double class embedding."""
    names = ('input_resolution', 'patch_size', 'width', 'layers', 'heads', 'out_indices', 'drop_path_rate')
    return CLIPVisionTransformer(
        **{name: config[name] for name in names if name in config},
        embed_dim=config.get('output_dim'),
        with_pixel_text=config['get_embeddings'],
        double_class_embedding=True,
        **kwargs,
    )


@consumes('denseclip', 'context_decoder')
@torch.no_grad()
def check_context_decoder(fixture: Fixture) -> None:
    decoder = ContextDecoder(**fixture.config).eval()
    load_part(decoder, fixture, 'context_decoder.', 'context_decoder.')
    text, visual = fixture.input('text'), fixture.input('visual')
    memory, x = decoder.memory_proj(visual), decoder.text_proj(text)
    fixture.expect('memory', memory)
    fixture.expect('query0', x)
    for index, layer in enumerate(decoder.decoder):
        x = layer(x, memory)
        fixture.expect(f'layer{index}', x)
    fixture.expect('text_diff', decoder(text, visual))


@consumes('denseclip', 'semantic_fpn')
@torch.no_grad()
def check_semantic_fpn(fixture: Fixture) -> None:
    neck_config, head_config = fixture.config['neck'], dict(fixture.config['decode_head'])
    neck = build_module(dict(type='FPN', **neck_config))
    levels = len(head_config['feature_strides'])
    head = build_module(
        dict(
            type='FPNHead',
            in_channels=[neck_config['out_channels']] * levels,
            in_index=list(range(levels)),
            norm_cfg=dict(type=head_config.pop('norm')),
            **head_config,
        )
    )
    model = torch.nn.ModuleDict({'neck': neck, 'decode_head': head}).eval()
    load_into(model, convert(fixture.state(), 'denseclip'), source=fixture.id)
    pyramid = neck([x for _, x in fixture.inputs('c')])
    for index, level in enumerate(pyramid):
        fixture.expect(f'p{index}', level)
    label = fixture.input('label')
    fixture.expect('logits', head(pyramid))
    losses = head.loss(pyramid, data_samples(label), {})
    fixture.expect('loss_ce', losses['loss_ce'])
    expected_accuracy(fixture, 'acc_seg', losses['acc_seg'], label)


@consumes('denseclip', 'identity_head_loss')
def check_identity_head(fixture: Fixture) -> None:
    config = fixture.config
    head = IdentityHead(
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=config['loss_weight']),
        align_corners=config['align_corners'],
        ignore_index=config['ignore_index'],
    )
    assert not head.state_dict()
    scores, label = fixture.input('score_map').requires_grad_(), fixture.input('label')
    losses = head.loss(scores / config['tau'], data_samples(label), {})
    losses['loss_ce'].backward()
    fixture.expect('loss_ce', losses['loss_ce'])
    fixture.expect('grad.score_map', scores.grad)
    expected_accuracy(fixture, 'acc_seg', losses['acc_seg'], label)
