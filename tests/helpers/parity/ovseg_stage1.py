"""OVSeg's first stage: backbones, pixel decoder, transformer, heads, criterion."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from mmdet.models.layers import SinePositionalEncoding
from mmengine.structures import InstanceData
from mmseg.models.backbones import ResNetV1c, SwinTransformer
from torch import Tensor, nn

from denseclip.models.heads.mask2former.positions import sine_positions
from denseclip.models.heads.mask_head import LayerPrediction, PixelFeatures
from denseclip.models.heads.maskformer import (
    MaskFormerCriterion,
    OpenVocabMaskFormerHead,
    PyramidPixelDecoder,
    WholeMaskMatcher,
)
from denseclip.models.heads.maskformer.transformer import to_tokens
from denseclip.weights import load_into, strip_prefix
from denseclip.weights.convert import convert

from .fixtures import Fixture
from .registry import consumes

STAGES = ('res2', 'res3', 'res4', 'res5')
MEMORIES = {'transformer_encoder': 'encoder', 'pixel_embedding': 'mask_features'}


def load_backbone(model: nn.Module, fixture: Fixture) -> nn.Module:
    """Weights of a backbone's fixture, in evaluation mode."""
    load_into(model, convert(fixture.state(), 'ovseg'), source=fixture.id)
    model.eval()  # MMSeg's backbones return None here
    return model


def load_head(model: nn.Module, fixture: Fixture, prefix: str = 'sem_seg_head.') -> nn.Module:
    """Weights of a head's fixture, in evaluation mode; and back again without loss."""
    theirs = fixture.state(prefix)
    ours = convert(theirs, 'ovseg')
    again = convert(ours, 'ovseg', inverse=True)
    assert all(torch.equal(again[key], value) for key, value in theirs.items())
    load_into(model, strip_prefix(ours, f'decode_head.{prefix.removeprefix("sem_seg_head.")}'), source=fixture.id)
    return model.eval()


@consumes('ovseg', 'position_sine')
def check_positions(fixture: Fixture) -> None:
    config = fixture.config
    x = torch.zeros(1, 2 * config['num_pos_feats'], config['h'], config['w'])
    settings = {key: config[key] for key in ('temperature', 'scale', 'eps')}
    for name, normalize in (('pos', True), ('pos_unnorm', False)):
        code = SinePositionalEncoding(config['num_pos_feats'], normalize=normalize, **settings)
        fixture.expect(name, code(None, input=x))


@consumes('ovseg', 'pixel_decoder')
def check_pixel_decoder(fixture: Fixture) -> None:
    config = fixture.config
    decoder = PyramidPixelDecoder(config['in_channels'], config['conv_dim'], config['mask_dim'])
    load_head(decoder, fixture, 'sem_seg_head.pixel_decoder.')
    pixels = decoder([fixture.input(name) for name in config['in_features']])
    fixture.expect('mask_features', pixels.mask_features)
    assert pixels.memories[0] is fixture.input(config['in_features'][-1])


def memory_of(name: str) -> int | str:
    """What the queries look at, by the authors' name."""
    return STAGES.index(name) if name in STAGES else MEMORIES[name]


def head_of(config: dict[str, Any]) -> OpenVocabMaskFormerHead:
    """The head that a fixture's config describes."""
    return OpenVocabMaskFormerHead(
        config['in_channels'],
        config['embedding_dim'],
        feat_channels=config['conv_dim'],
        mask_dim=config['mask_dim'],
        dim=config['hidden_dim'],
        num_queries=config['num_queries'],
        num_heads=config['nheads'],
        ffn_dim=config['dim_feedforward'],
        encoder_layers=config['enc_layers'],
        decoder_layers=config['dec_layers'],
        pixel_encoder_layers=config['pixel_decoder_enc_layers'],
        memory=memory_of(config['transformer_in_feature']),
        pre_norm=config['pre_norm'],
        embed_hidden_dim=config['embed_hidden_dim'],
        embed_layers=config['embed_layers'],
        project_input=config['enforce_input_proj'],
    )


@consumes('ovseg', 'head')
def check_head(fixture: Fixture) -> None:
    head = head_of(fixture.config)
    load_head(head, fixture)
    with torch.no_grad():
        pixels = head.pixel_features([fixture.input(name) for name in STAGES])
        outputs = head.predictor(pixels)
    fixture.expect('mask_features', pixels.mask_features)
    check_encoder(fixture, head, pixels)
    memory = head.predictor.input_proj(pixels.memories[0])
    fixture.expect('pos', SinePositionalEncoding(memory.shape[1] // 2, normalize=True)(None, input=memory[:1]))
    fixture.expect('hs', outputs.states)
    last = len(outputs.states) - 1
    for layer, (embeddings, masks) in enumerate(zip(outputs.class_embeddings, outputs.mask_logits, strict=True)):
        prefix = '' if layer == last else f'aux{layer}.'
        for name, value in (('class_embed', embeddings), ('pred_masks', masks)):
            if fixture.has(f'out.{prefix}{name}'):
                fixture.expect(prefix + name, value)
    check_last_only(head, pixels, outputs.mask_logits[-1])


@torch.no_grad()
def check_encoder(fixture: Fixture, head: OpenVocabMaskFormerHead, pixels: PixelFeatures) -> None:
    """What the encoders give, as maps: that of the pixel decoder, and that in front of the queries' decoder."""
    if fixture.config['pixel_decoder_enc_layers']:
        encoded = head.pixel_decoder([fixture.input(name) for name in STAGES]).memories[0]
        expect_if_there(fixture, ('encoder_features', 'transformer_encoder_features', 'transformer_encoder'), encoded)
    memory = head.predictor.input_proj(pixels.memories[0])
    tokens = head.predictor.transformer.encoder(to_tokens(memory), to_tokens(sine_positions(memory)))
    names = ('memory', 'encoder_memory', *(() if fixture.config['pixel_decoder_enc_layers'] else ('encoder_features',)))
    expect_if_there(fixture, names, tokens.transpose(1, 2).unflatten(2, memory.shape[-2:]))


def expect_if_there(fixture: Fixture, names: Sequence[str], value: Tensor) -> None:
    for name in names:
        if fixture.has(f'out.{name}'):
            fixture.expect(name, value)


def check_last_only(head: OpenVocabMaskFormerHead, pixels: Any, masks: Tensor) -> None:
    """Inference that asks for the last layer alone gives the same."""
    rows = torch.nn.functional.normalize(torch.randn(3, head.predictor.class_embed.layers[-1].out_features), dim=-1)
    with torch.no_grad():
        found = head.decode(pixels, rows, torch.tensor([2]), all_layers=False)
    assert len(found.layers) == 1 and torch.equal(found.last.mask_logits, masks)


@consumes('ovseg', 'swin')
def check_swin(fixture: Fixture) -> None:
    config = fixture.config
    model = SwinTransformer(
        embed_dims=config['embed_dim'],
        depths=config['depths'],
        num_heads=config['num_heads'],
        window_size=config['window_size'],
        mlp_ratio=config['mlp_ratio'],
        qkv_bias=config['qkv_bias'],
        patch_size=config['patch'],
        patch_norm=config['patch_norm'],
        use_abs_pos_embed=config['ape'],
        pretrain_img_size=config['pretrain_img_size'],
    )
    check_stages(load_backbone(model, fixture), fixture)


@consumes('ovseg', 'resnet_deeplab')
def check_resnet(fixture: Fixture) -> None:
    config = fixture.config
    assert config['res2_out'] == 4 * config['width_per_group']
    model = ResNetV1c(
        depth=config['depth'],
        stem_channels=config['stem_out'],
        base_channels=config['width_per_group'],
        strides=(1, *(2 if after > before else 1 for before, after in pairwise(config['out_strides']))),
        dilations=(1, 1, 1, config['res5_dilation']),
        multi_grid=[config['res5_dilation'] * step for step in config['res5_multi_grid']],
        contract_dilation=False,
        style='caffe' if config['stride_in_1x1'] else 'pytorch',
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        frozen_stages=config['freeze_at'] - 1,
    )
    load_backbone(model, fixture)
    frozen = {name.split('.')[0] for name, p in model.named_parameters() if not p.requires_grad and p.ndim > 1}
    names = {'stem': 'stem', **{f'res{stage + 1}': f'layer{stage}' for stage in range(1, 5)}}
    assert frozen == {names[child] for child in config['frozen_children']}
    check_stages(model, fixture)


def check_stages(model: nn.Module, fixture: Fixture) -> None:
    """The four maps of a backbone, and its weights under their names again."""
    with torch.no_grad():
        maps = model(fixture.input('image'))
    for name, value in zip(STAGES, maps, strict=True):
        fixture.expect(name, value)
    again = convert(model.state_dict(), 'ovseg', inverse=True)
    assert all(torch.equal(again[key], value) for key, value in fixture.state().items())


@consumes('ovseg', 'criterion')
def check_criterion(fixture: Fixture) -> None:
    config = fixture.config
    targets = [
        InstanceData(labels=labels, masks=fixture.input(f'masks{index}').bool())
        for index, labels in fixture.inputs('labels')
    ]
    leaves = {key: fixture.input(key).clone().requires_grad_() for key in ('pred_logits', 'pred_masks')}
    aux = [f'aux{layer}.' for layer in range(config['aux_layers'])]
    layers = [LayerPrediction(fixture.input(f'{p}pred_masks'), fixture.input(f'{p}pred_logits')) for p in aux]
    layers.append(LayerPrediction(leaves['pred_masks'], leaves['pred_logits']))

    check_costs(fixture, targets)
    matcher = WholeMaskMatcher(config['cost_class'], config['cost_mask'], config['cost_dice'])
    settings = dict(
        no_object_weight=config['no_object_weight'],
        focal_alpha=config['focal_alpha'],
        focal_gamma=config['focal_gamma'],
        matcher=matcher,
    )
    for name, value in MaskFormerCriterion(1.0, 1.0, 1.0, **settings)(layers, targets).items():
        fixture.expect(name, value)
    weights = [config['weight_dict'][name] for name in ('loss_ce', 'loss_mask', 'loss_dice')]
    total = torch.stack(list(MaskFormerCriterion(*weights, **settings)(layers, targets).values())).sum()
    fixture.expect('total', total)
    total.backward()
    for key, leaf in leaves.items():
        assert leaf.grad is not None
        fixture.expect(f'grad.{key}', leaf.grad)
    found = matcher(leaves['pred_logits'][None], leaves['pred_masks'][None], targets)[0]
    for index, (queries, segments) in enumerate(found):
        fixture.expect(f'match_query{index}', queries)
        fixture.expect(f'match_target{index}', segments)
    reference = fixture.state()['empty_weight']
    assert reference[-1] == torch.tensor(config['no_object_weight']) and bool((reference[:-1] == 1).all())


def check_costs(fixture: Fixture, targets: list[InstanceData]) -> None:
    """Each cost alone, for the images that the fixture has it for."""
    for index, target in enumerate(targets):
        for place, name in enumerate(('cost_class', 'cost_mask', 'cost_dice')):
            if fixture.has(f'out.{name}{index}'):
                only = [float(place == other) for other in range(3)]
                inputs = [fixture.input(key)[index][None] for key in ('pred_logits', 'pred_masks')]
                fixture.expect(f'{name}{index}', WholeMaskMatcher(*only).cost(*inputs, target)[0])
