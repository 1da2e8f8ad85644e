"""Checks of AnoVL's parts: attention, towers, prompts, adapters, losses, maps, views and tiles."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from denseclip.clip.anomaly_prompts import state_prompts
from denseclip.clip.attention import self_self_attend
from denseclip.clip.blocks import projections, self_attention
from denseclip.clip.towers import DenseReadOut
from denseclip.models.anomaly.adaptation import FeatureAdapter
from denseclip.models.anomaly.dual_path import DualStep, dual_blocks, dual_path
from denseclip.models.anomaly.state_text import StateText
from denseclip.models.functional import anomaly_scores as functional
from denseclip.models.functional.anomaly_views import picture_views
from denseclip.weights import load_into, strip_prefix

from .anovl_common import other_tensors, rows_first, small_clip, weights_of, with_tolerances
from .fixtures import Fixture
from .registry import consumes


@consumes('anovl', 'vv_attention')
@torch.no_grad()
def check_vv_attention(fixture: Fixture) -> None:
    with_tolerances(fixture)
    config, x, state = fixture.config, fixture.input('x'), fixture.state()
    attn = nn.MultiheadAttention(config['width'], config['heads'], batch_first=True)
    names = {'qkv.weight': 'in_proj_weight', 'qkv.bias': 'in_proj_bias', 'proj.weight': 'out_proj.weight'}
    load_into(attn, {names.get(k, 'out_proj.bias'): v for k, v in state.items()}, source=fixture.id)
    fixture.expect('ori', self_attention(attn, x))
    fixture.expect('vv', self_attention(attn, x, kind='vv'))
    # The authors' unused ResNet setting compares unit values, with logits eight times as large.
    temperature = torch.tensor(8 * config['scale'])
    unit = self_self_attend(*projections(attn, x), 'vv', temperature, iterations=0, average=False)
    fixture.expect('vv_resnet_setting', attn.out_proj(unit.transpose(1, 2).flatten(2)))


@consumes('anovl', 'dual_path_blocks')
@torch.no_grad()
def check_dual_path_blocks(fixture: Fixture) -> None:
    with_tolerances(fixture)
    config, state = fixture.config, fixture.state()
    blocks = []
    for index in range(len({key.split('.')[0] for key in state})):
        block = ResidualAttentionBlock(config['width'], config['heads'], config['mlp_ratio'])
        own = {k: v for k, v in state.items() if k.startswith(f'{index}.')}
        load_into(block, strip_prefix(own, f'{index}.'), source=fixture.id)
        blocks.append(block)
    x = fixture.input('x').transpose(0, 1)  # theirs is sequence first
    single, start, after = dual_blocks(blocks, x, last=len(blocks) - 1)
    fixture.expect('single', single.ordinary.transpose(0, 1))
    fixture.expect('start_ori', start.ordinary.transpose(0, 1))
    fixture.expect('start_vv', start.side.transpose(0, 1))
    fixture.expect('cont_ori', after.ordinary.transpose(0, 1))
    fixture.expect('cont_vv', after.side.transpose(0, 1))
    # Written over in place by the authors' next block.
    fixture.expect('aliased_start_ori_after_next', after.attended.transpose(0, 1))
    fixture.expect('aliased_start_vv_after_next', after.side.transpose(0, 1))


def authors_entries(steps: list[DualStep], listed: list[int]) -> list[Tensor]:
    """Entries of the authors' token list, as their in-place additions leave them.

    Every listed layer gives its V-V stream (where it has one) and its ordinary stream. All V-V entries are one tensor:
    the final stream, its class row that of the ordinary path. An ordinary entry is overwritten halfway by the next
    block; the entry before the V-V stream starts is the tensor that this stream is added to, so it is the final one.
    """
    final = torch.cat([steps[-1].ordinary[:, :1], steps[-1].side[:, 1:]], dim=1)
    entries = []
    for layer in listed:
        step = steps[layer - 1]
        following = steps[layer].attended if layer < len(steps) else None
        if step.side is None:
            starts = layer < len(steps) and steps[layer].side is not None
            entries.append(final if starts else step.ordinary)
        else:
            entries += [final, step.ordinary if following is None else following]
    return entries


def surgered(config: dict[str, Any]) -> int:
    """How many blocks at the end have the V-V path, from ``'last 12'``."""
    found = re.fullmatch(r'last (\d+)', config['surgered_blocks'])
    assert found, config['surgered_blocks']
    return int(found.group(1))


@consumes('anovl', 'visual_tower', 'visual_tower_rect')
@torch.no_grad()
def check_visual_tower(fixture: Fixture) -> None:
    with_tolerances(fixture)
    config = fixture.config
    own = fixture.state('visual.')
    weights = config['weights_in']
    if weights != 'this file':
        shared = weights_of(other_tensors(fixture, 'weights_in'))
        own = {**{f'visual.{k}': v for k, v in shared.items()}, **own}
    tower = small_clip(config, own).image_tower(DenseReadOut(dense=False, pos_resize='bicubic', antialias=True))
    images = fixture.input('image')
    x, grid = tower.embed(images)
    assert list(grid) == list(config['grid'])
    last = surgered(config)
    steps = list(dual_blocks(tower.visual.transformer.resblocks, x, last))
    assert [s.side is None for s in steps].index(False) + 1 == config['first_dual_block_1based']
    fixture.expect('ori_stream_last', steps[-1].ordinary)
    fixture.expect('vv_stream_last', steps[-1].side)
    for match in fixture.outputs(r'snapshot_vv_layer(\d+)'):
        fixture.expect(match.group(), steps[int(match.group(1)) - 1].side)
    entries = authors_entries(steps, config['features_list'])
    for match in fixture.outputs(r'tokens_(raw|proj)_(\d+)'):
        entry = entries[int(match.group(2))]
        if match.group(1) == 'proj':
            entry = tower.visual.ln_post(entry[:, 1:]) @ tower.visual.proj
        fixture.expect(match.group(), entry)
    out = dual_path(tower, images, last)
    fixture.expect('pooled', torch.cat([out.pooled[:, None], out.patches.flatten(1, 2)], dim=1))


@consumes('anovl', 'text_tower')
@torch.no_grad()
def check_text_tower(fixture: Fixture) -> None:
    with_tolerances(fixture)
    tower = small_clip(fixture.config, fixture.state()).text_tower()
    texts = fixture.config['texts']
    tokens = tower.tokenize(texts)
    padded = nn.functional.pad(tokens, (0, fixture.input('token_ids').shape[1] - tokens.shape[1]))
    assert torch.equal(padded, fixture.input('token_ids').long())
    for text, ids in zip(texts, fixture.input('bpe_ids').tolist(), strict=True):
        assert ids[1 : 1 + len(tower.tokenizer.clip.encode(text))] == tower.tokenizer.clip.encode(text)
    fixture.expect('text_features', tower.encode(texts))
    fixture.expect('text_features', tower.encode_tokens(fixture.input('token_ids').long())[0])


@consumes('anovl', 'prompt_ensemble')
@torch.no_grad()
def check_prompt_ensemble(fixture: Fixture) -> None:
    with_tolerances(fixture)
    tower = small_clip(fixture.config, weights_of(other_tensors(fixture, 'weights_in'))).text_tower()
    for name in fixture.config['objects']:
        prompts = state_prompts(name)
        count = fixture.config['n_prompts_per_state']
        assert (len(prompts.normal), len(prompts.abnormal)) == (count, count)
        if fixture.has(f'in.token_ids.{name}'):
            stored = fixture.input(f'token_ids.{name}').long().flatten(0, 1)
            tokens = tower.tokenize((*prompts.normal, *prompts.abnormal))
            assert torch.equal(nn.functional.pad(tokens, (0, stored.shape[1] - tokens.shape[1])), stored)
        text = StateText.of(tower.encode((*prompts.normal, *prompts.abnormal)), count)
        fixture.expect(f'text_prompts.{name}', text.states.T)
        if fixture.has(f'out.text_prompts_list.{name}'):
            fixture.expect(f'text_prompts_list.{name}', torch.stack(text.prompts.split(count), dim=-1))


@consumes('anovl', 'prompts')
def check_prompts(fixture: Fixture) -> None:
    for name, expected in fixture.manifest.items():
        prompts = state_prompts(name)
        both = (*prompts.normal, *prompts.abnormal)
        digest = hashlib.sha256('\n'.join(both).encode()).hexdigest()
        assert digest == expected['sha256_of_newline_joined_normal_then_abnormal'], name
        assert [len(prompts.normal), len(prompts.abnormal)] == expected['n']
        assert (both[0], both[-1]) == (expected['first'], expected['last'])
        for kind in ('normal', 'abnormal'):
            assert list(getattr(prompts, kind)) == expected.get(kind, list(getattr(prompts, kind)))


@consumes('anovl', 'adapters')
@torch.no_grad()
def check_adapters(fixture: Fixture) -> None:
    with_tolerances(fixture)
    state, tokens = fixture.state(), fixture.input('tokens')
    for kind in ('text', 'linear'):
        weight, bias = (state[f'{kind}_adapter.ad.{name}'] for name in ('weight', 'bias'))
        adapter = FeatureAdapter(kind, weight, bias, rows_first(fixture.input('text_prompts_list')))
        assert adapter.residual == fixture.config['residual']
        flat = tokens.flatten(1, 2)
        fixture.expect(f'{kind}_adapter.adapter', adapter.adapt(flat))
        fixture.expect(f'{kind}_adapter.test', adapter(tokens))
        fixture.expect(f'{kind}_adapter.test_3d', adapter(flat))
        fixture.expect(f'{kind}_adapter.train', adapter(torch.cat([tokens, tokens + fixture.input('noise')])))
    check_masked_noise(fixture, tokens)


def check_masked_noise(fixture: Fixture, tokens: Tensor) -> None:
    """An augmentation that the authors wrote and never call, so we have none: noise on one quarter of the tokens."""
    noise, rank = fixture.input('mask_aug_noise'), fixture.input('mask_aug_rand').argsort(dim=1).argsort(dim=1)
    quarter = rank.shape[1] // 4
    masks = torch.stack([rank // quarter == part for part in range(4)]).float().view(-1, *tokens.shape[1:3], 1)
    fixture.expect('text_adapter.mask_aug_masks', masks)
    noisy = tokens.repeat(4, 1, 1, 1) + noise.repeat(4, 1, 1, 1) * masks
    fixture.expect('text_adapter.mask_aug_feats', torch.cat([tokens, noisy]))


@consumes('anovl', 'tta_loss')
def check_adaptation_loss(fixture: Fixture) -> None:
    with_tolerances(fixture)
    logits = fixture.input('logits').requires_grad_()
    weights = (fixture.config['soft_weight'], fixture.config['hard_weight'])
    loss = functional.adaptation_loss(logits[0], logits[1], *weights)
    loss.backward()
    fixture.expect('loss', loss)
    fixture.expect('grad_logits', logits.grad)


@consumes('anovl', 'map_postprocess')
def check_map_postprocess(fixture: Fixture) -> None:
    with_tolerances(fixture)
    smoothed = functional.smooth(fixture.input('prob'))
    fixture.expect('smoothed', smoothed)
    fixture.expect('map', functional.upsample(smoothed, (fixture.config['size'],) * 2))


@consumes('anovl', 'tiling')
def check_tiling(fixture: Fixture) -> None:
    with_tolerances(fixture)
    side, size = fixture.config['H'], (fixture.config['H'], fixture.config['W'])
    fixture.expect('tiles', functional.cut_tiles(fixture.input('image'), side))
    fixture.expect('recovered', functional.stitch_tiles(fixture.input('maps'), size, side))


@consumes('anovl', 'image_views', 'image_views_rect')
def check_image_views(fixture: Fixture) -> None:
    with_tolerances(fixture)
    fixture.expect('views', picture_views(fixture.input('image'))[0])
