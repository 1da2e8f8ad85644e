"""The V-V dual path on open_clip's and timm's transformers."""

import pytest
import timm
import torch
from open_clip.timm_model import TimmModel
from shrunk_clips import tiny_timm
from timm.models.eva import EvaBlock
from tiny_anomaly import pictures, tiny_clip
from torch.utils.flop_counter import FlopCounterMode

from denseclip.clip.blocks import timm_self_attention
from denseclip.clip.towers import DenseReadOut, build_image_tower, build_resnet
from denseclip.models.anomaly.dual_path import dual_block, dual_blocks, dual_path, supports_dual_path

READ = DenseReadOut(pos_resize='bicubic', antialias=True)


@torch.no_grad()
def test_the_ordinary_stream_is_the_towers_own():
    tower = tiny_clip().image_tower(READ)
    images = pictures(2, 32, 48)
    expected = tower(images)
    for attention in ('vv', 'ordinary'):
        out = dual_path(tower, images, attention=attention)
        assert torch.allclose(out.pooled, expected.pooled, atol=1e-5)
        same = torch.allclose(out.patches, expected.dense.permute(0, 2, 3, 1), atol=1e-5)
        assert same == (attention == 'ordinary') and out.patches.shape == (2, 4, 6, 8)


@torch.no_grad()
def test_only_the_last_blocks_feed_the_second_stream():
    tower = tiny_clip().image_tower(READ)
    x, _ = tower.embed(pictures(1))
    steps = list(dual_blocks(tower.visual.transformer.resblocks, x, last=2))
    assert [step.side is None for step in steps] == [True, False, False]
    start = dual_block(tower.visual.transformer.resblocks[1], steps[0].ordinary, steps[0].ordinary)
    assert torch.equal(start.side, steps[1].side)
    assert list(dual_blocks(tower.visual.transformer.resblocks, x, last=99))[0].side is not None


@torch.no_grad()
@pytest.mark.parametrize('attention', ['vv', 'qq', 'kk'])
@pytest.mark.parametrize('last', [1, 2, 99])
def test_the_last_block_runs_for_what_is_read(attention, last):
    tower = tiny_clip().image_tower(READ)
    images = pictures(2, 32, 48)
    x, grid = tower.embed(images)
    *_, whole = dual_blocks(tower.visual.transformer.resblocks, x, last, attention)
    with FlopCounterMode(display=False) as counted:
        found = dual_path(tower, images, last, attention)
    assert torch.allclose(found.pooled, tower.pool(whole.ordinary), atol=1e-5)
    patches = tower.after_blocks(whole.side[:, 1:]) @ tower.visual.proj
    assert torch.allclose(found.patches, patches.unflatten(1, grid), atol=1e-5)
    with FlopCounterMode(display=False) as all_of_it:
        list(dual_blocks(tower.visual.transformer.resblocks, tower.embed(images)[0], last, attention))
    assert counted.get_total_flops() < all_of_it.get_total_flops()


@torch.no_grad()
def test_with_the_ordinary_comparison_both_branches_agree():
    block = tiny_clip().image_tower(READ).visual.transformer.resblocks[0]
    x = torch.randn(2, 5, 16)
    step = dual_block(block, x, torch.zeros_like(x), 'qk')
    assert torch.allclose(step.side, step.attended - x, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize('kind', ['vit', 'eva', 'eva-no-scale'])
def test_timm_branches_read_the_blocks_parameters(kind):
    if kind == 'vit':
        block = timm.create_model('test_vit').blocks[0]
        width = 64
    else:
        width = 16
        scale = None if kind == 'eva-no-scale' else 0.3
        block = EvaBlock(width, 2, init_values=scale, qkv_fused=True)
        torch.nn.init.normal_(block.attn.q_bias)
        torch.nn.init.normal_(block.attn.v_bias)
    x = torch.randn(2, 7, width)
    expected = block.attn(block.norm1(x))
    scale = getattr(block, 'gamma_1', None)
    expected = expected * scale if scale is not None else getattr(block, 'ls1', torch.nn.Identity())(expected)
    assert torch.allclose(timm_self_attention(block, x, kind='qk'), expected, atol=1e-5)
    assert not torch.allclose(timm_self_attention(block, x, kind='vv'), expected, atol=1e-5)


@torch.no_grad()
def test_a_siglip_tower_has_a_dual_path():
    tower = build_image_tower(TimmModel('test_vit', embed_dim=64, pool='map', proj='none'), READ)
    images = torch.randn(2, 3, 64, 96)
    plain, dual = tower(images), dual_path(tower, images)
    assert torch.allclose(dual.pooled, plain.pooled, atol=1e-5)
    ordinary = dual_path(tower, images, attention='ordinary').patches
    assert torch.allclose(ordinary, plain.dense.permute(0, 2, 3, 1), atol=1e-5)
    assert dual.patches.shape == ordinary.shape and not torch.allclose(dual.patches, ordinary, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize(
    ('trunk', 'pool', 'proj'),
    [
        ('vit_pe_core_base_patch16_224', 'map', None),
        ('vit_base_mci_224', 'token', None),
        ('vitamin_small_224', '', 'linear'),
    ],
)
def test_towers_with_rotary_positions_or_a_convolutional_stem(trunk, pool, proj):
    tower = build_image_tower(tiny_timm(trunk, pool, proj), READ)
    images = torch.randn(1, 3, 9 * tower.multiple[0], 16 * tower.multiple[1])
    plain, ordinary = tower(images), dual_path(tower, images, attention='ordinary')
    assert torch.allclose(ordinary.patches, plain.dense.permute(0, 2, 3, 1), atol=1e-5)
    assert torch.allclose(dual_path(tower, images).pooled, plain.pooled, atol=1e-5)


@torch.no_grad()
def test_an_attentional_pooler_reads_each_patch_alone():
    tower = tiny_clip(attentional_pool=True, attn_pooler_heads=2).image_tower(READ)
    images = pictures(2, 32, 48)
    assert torch.allclose(
        dual_path(tower, images, attention='ordinary').patches, tower(images).dense.permute(0, 2, 3, 1), atol=1e-5
    )


def test_other_towers_are_refused():
    tower = build_image_tower(build_resnet([1, 1, 1, 1], width=8, embed_dim=4, image_size=64))
    assert not supports_dual_path(tower)
    with pytest.raises(ValueError, match='ResNetTower has no V-V path'):
        dual_path(tower, torch.zeros(1, 3, 64, 64))
