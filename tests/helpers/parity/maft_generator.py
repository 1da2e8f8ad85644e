"""Checks of the mask generator of FC-CLIP and MAFT+: attention, both decoders, matching and losses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from denseclip.models.functional.deformable_attention import pixel_centres
from denseclip.models.functional.mask_pooling import mask_pool
from denseclip.models.functional.text_logits import text_logits
from denseclip.models.heads.mask2former import (
    DeformableAttention,
    DeformablePixelDecoder,
    LayerPrediction,
    MaskCriterion,
    MaskedQueryDecoder,
    PixelFeatures,
    PointMaskMatcher,
    TextClassifier,
    sine_positions,
)
from denseclip.models.heads.mask2former.layers import MaskedDecoderLayer
from denseclip.weights import load_into, strip_prefix
from denseclip.weights.convert import convert

from .fixtures import Fixture
from .registry import consumes


@contextmanager
def recorded_draws(draws: Iterable[Tensor]) -> Iterator[None]:
    """``torch.rand`` gives the recorded numbers, in their order; each draw must ask for what was recorded."""
    left = list(draws)

    def replay(*size: Any, **_: Any) -> Tensor:
        shape = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else tuple(size)
        assert left, f'one draw too many: {shape}'
        assert tuple(left[0].shape) == shape, f'a draw of {shape} where {tuple(left[0].shape)} was recorded'
        return left.pop(0)

    with patch('torch.rand', replay):
        yield
    assert not left, f'{len(left)} recorded draws were not asked for'


def load_part(module: nn.Module, fixture: Fixture, theirs: str, ours: str) -> nn.Module:
    """Fill a module through the public converter: ``theirs`` goes before the fixture's names, ``ours`` comes off."""
    state = convert(fixture.state(f'sem_seg_head.{theirs}'), 'mask2former')
    back = convert(state, 'mask2former', inverse=True)
    assert strip_prefix(back, f'sem_seg_head.{theirs}').keys() == fixture.state().keys()
    load_into(module, strip_prefix(state, ours), source=fixture.id)
    return module.eval()


@consumes('maft_pmp', 'position_encoding')
def check_positions(fixture: Fixture) -> None:
    dim = 2 * fixture.config['num_pos_feats']
    for match in list(fixture.outputs(r'pos\d+')):
        batch, _, height, width = fixture.tensors[f'out.{match.group()}'].shape
        fixture.expect(match.group(), sine_positions(torch.zeros(1, 1, height, width), dim).expand(batch, -1, -1, -1))


@consumes('maft_pmp', 'ms_deform_attn')
@torch.no_grad()
def check_deformable_attention(fixture: Fixture) -> None:
    config = fixture.config
    module = DeformableAttention(config['d_model'], config['n_heads'], config['n_levels'], config['n_points'])
    load_into(module, fixture.state(), source=fixture.id)
    sizes = [(int(h), int(w)) for h, w in fixture.input('spatial_shapes')]
    starts = [0, *torch.tensor([h * w for h, w in sizes]).cumsum(0).tolist()]
    assert fixture.input('level_start_index').tolist() == starts[:-1]
    query, value, mask = fixture.input('query'), fixture.input('value'), fixture.input('padding_mask')
    points, boxes = fixture.input('ref2'), fixture.input('ref4')
    fixture.expect('ref2', module(query, value, points, sizes))
    fixture.expect('ref2_masked', module(query, value, points, sizes, mask))
    fixture.expect('ref4', module(query, value, boxes, sizes))


@consumes('maft_pmp', 'ms_deform_attn_init')
def check_deformable_attention_init(fixture: Fixture) -> None:
    config = fixture.config
    module = DeformableAttention(config['d_model'], config['n_heads'], config['n_levels'], config['n_points'])
    fixture.expect('sampling_offsets.bias', module.sampling_offsets.bias)
    fixture.expect('sampling_offsets.weight_abs_sum', module.sampling_offsets.weight.abs().sum())
    fixture.expect('attention_weights.weight_abs_sum', module.attention_weights.weight.abs().sum())


@consumes('maft_pmp', 'pixel_decoder')
@torch.no_grad()
def check_pixel_decoder(fixture: Fixture) -> None:
    config = fixture.config
    levels = sorted(config['channels'])
    module = DeformablePixelDecoder(
        [config['channels'][level] for level in levels],
        dim=config['conv_dim'],
        mask_dim=config['mask_dim'],
        num_layers=config['enc_layers'],
        num_heads=config['nheads'],
        ffn_dim=config['dim_feedforward'],
        num_points=config['n_points'],
        num_levels=len(config['transformer_in_features']),
        norm_groups=int(config['norm'].removeprefix('GN(').removesuffix(')')),
    )
    load_part(module, fixture, 'pixel_decoder.', 'pixel_decoder.')
    features = [fixture.input(level) for level in levels]
    out = module(features)
    fixture.expect('mask_features', out.mask_features)
    for index, memory in enumerate(out.memories):
        fixture.expect(f'multi_scale{index}', memory)
    fixture.expect('input_proj0', module.input_proj[0](features[-1]))
    centres = pixel_centres([(m.shape[-2], m.shape[-1]) for m in out.memories], out.mask_features)
    fixture.expect('reference_points', centres[None, :, None].expand(len(features[0]), -1, len(out.memories), -1))


@consumes('maft_pmp', 'decoder_layers')
@torch.no_grad()
def check_decoder_layers(fixture: Fixture) -> None:
    config = fixture.config
    layer = MaskedDecoderLayer(
        config['d_model'],
        config['nhead'],
        config['dim_feedforward'],
        config['dropout'],
        pre_norm=config['normalize_before'],
    ).eval()
    theirs = {'cross': 'cross_attention', 'self': 'self_attention', 'ffn': 'ffn'}
    state = {}
    for key, value in fixture.state().items():
        part, tail = key.split('.', 1)
        state[f'sem_seg_head.predictor.transformer_{theirs[part]}_layers.0.{tail}'] = value
    load_into(layer, strip_prefix(convert(state, 'mask2former'), 'decoder.layers.0.'), source=fixture.id)
    queries, query_pos, memory, pos = (
        fixture.input(name).transpose(0, 1) for name in ('tgt', 'query_pos', 'memory', 'pos')
    )
    allowed = ~fixture.input('attn_mask').unflatten(0, (len(queries), -1))
    fixture.expect('cross', layer.image_attention(queries, query_pos, memory, pos, allowed).transpose(0, 1))
    fixture.expect('self', layer.self_attention(queries, query_pos).transpose(0, 1))
    fixture.expect('ffn', layer.feed_forward(queries).transpose(0, 1))


@consumes('maft_pmp', 'transformer_decoder')
@torch.no_grad()
def check_decoder(fixture: Fixture) -> None:
    config = fixture.config
    dim = config['hidden_dim']
    memories = tuple(memory for _, memory in fixture.inputs('multi_scale'))
    decoder = MaskedQueryDecoder(
        TextClassifier(dim, config['clip_embedding_dim']),
        in_channels=config['in_channels'],
        dim=dim,
        mask_dim=config['mask_dim'],
        num_queries=config['num_queries'],
        num_layers=config['dec_layers'],
        num_heads=config['nheads'],
        ffn_dim=config['dim_feedforward'],
        num_levels=len(memories),
        pre_norm=config['pre_norm'],
        project_inputs=config['enforce_input_project'],
    )
    load_part(decoder, fixture, 'predictor.', 'decoder.')
    pixels = PixelFeatures(fixture.input('mask_features'), memories)
    text = (fixture.input('text'), torch.tensor(config['num_templates']))
    out = decoder(pixels, *text)
    for index, layer in enumerate(out.layers):
        fixture.expect(f'pred_logits{index}', layer.class_logits)
        fixture.expect(f'pred_masks{index}', layer.mask_logits)
    alone = decoder(pixels, *text, all_layers=False)
    assert len(alone.layers) == 1
    fixture.expect(f'pred_logits{config["dec_layers"]}', alone.last.class_logits)
    fixture.expect(f'pred_masks{config["dec_layers"]}', alone.last.mask_logits)


def segments(fixture: Fixture) -> list[InstanceData]:
    """Segments of all pictures of a fixture."""
    labels, masks = dict(fixture.inputs('labels')), dict(fixture.inputs('masks'))
    return [InstanceData(labels=labels[index], masks=masks[index]) for index in sorted(labels)]


@consumes('maft_pmp', 'matcher')
def check_matcher(fixture: Fixture) -> None:
    config = fixture.config
    matcher = PointMaskMatcher(config['cost_class'], config['cost_mask'], config['cost_dice'], config['num_points'])
    logits, masks, targets = fixture.input('pred_logits'), fixture.input('pred_masks'), segments(fixture)
    points = [draw for _, draw in fixture.inputs('points')]
    for index, draw in enumerate(points):
        fixture.expect(f'cost{index}', matcher.cost(logits[index], masks[index], targets[index], draw))
    with recorded_draws(points):
        matches = matcher(logits, masks, targets)
    for index, (queries, answered) in enumerate(matches):
        fixture.expect(f'src{index}', queries)
        fixture.expect(f'tgt{index}', answered)


@consumes('maft_pmp', 'criterion')
def check_criterion(fixture: Fixture) -> None:
    config = fixture.config
    criterion = MaskCriterion(
        void_weight=config['eos_coef'],
        num_points=config['num_points'],
        oversample_ratio=config['oversample_ratio'],
        importance_sample_ratio=config['importance_sample_ratio'],
    )
    logits = fixture.input('pred_logits').requires_grad_()
    masks = fixture.input('pred_masks').requires_grad_()
    assert logits.shape[-1] == config['num_classes'] + 1
    queries, answered = dict(fixture.inputs('src')), dict(fixture.inputs('tgt'))
    matches = [(queries[index], answered[index]) for index in sorted(queries)]
    targets = criterion.prepare(segments(fixture), masks.device)
    draws = [fixture.input('rand0'), fixture.input('rand1')]
    with recorded_draws(draws):
        pictures = torch.cat([torch.full_like(q, n) for n, (q, _) in enumerate(matches)])
        fixture.expect('point_coords', criterion.sample_points(masks[pictures, torch.cat([q for q, _ in matches])]))
    with recorded_draws(draws):
        losses = criterion.layer_losses(LayerPrediction(masks, logits), targets, matches, config['num_masks'])
    for name, value in losses.items():
        fixture.expect(name, value)
    fixture.expect('grad_logits', torch.autograd.grad(losses['loss_ce'], logits)[0])
    fixture.expect('grad_masks', torch.autograd.grad(losses['loss_mask'] + losses['loss_dice'], masks)[0])


@consumes('maft_pmp', 'mask_pooling')
def check_mask_pooling(fixture: Fixture) -> None:
    for name in ('same', 'other'):
        fixture.expect(name, mask_pool(fixture.input('x'), fixture.input(f'mask_{name}'), fixture.config['eps']))


@consumes('maft_pmp', 'classification_logits')
def check_classification_logits(fixture: Fixture) -> None:
    config = fixture.config
    synonyms = torch.tensor(config['num_templates'])
    for match in list(fixture.outputs(r'logits(2d|3d)_(low|high)')):
        text, scale = match.groups()
        logit_scale = torch.tensor(config[f'logit_scale_{scale}'])
        fixture.expect(
            match.group(), text_logits(fixture.input('x'), fixture.input(f'text{text}'), synonyms, logit_scale)
        )
