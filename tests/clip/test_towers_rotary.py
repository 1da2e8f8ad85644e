"""Rotary positions on other grids than a trunk's own."""

import copy

import pytest
import torch
from shrunk_clips import tiny_timm
from timm.layers import RotaryEmbeddingCat, RotaryEmbeddingMixed

from denseclip.clip.towers import DenseReadOut, build_image_tower, rotary_table

ROTARY = {
    'eva02_base_patch16_clip_224': 'token',
    'eva02_large_patch14_clip_336': 'token',
    'vit_pe_core_base_patch16_224': 'map',
    'vit_pe_core_large_patch14_336': 'map',
    'vit_pe_core_gigantic_patch14_448': 'map',
}
AS_TIMM = DenseReadOut(pos_resize='bicubic', antialias=True)


@pytest.mark.parametrize('trunk', ROTARY)
@pytest.mark.parametrize('grid', [(9, 16), (16, 9), (20, 20), (5, 3), (7, 28)])
def test_a_tower_equals_a_trunk_built_for_the_size(trunk, grid):
    """7 x 28 has as many patches as 14 x 14: there timm's own table was taken, row by row."""
    visual = tiny_timm(trunk, ROTARY[trunk], None)
    patch = visual.trunk.patch_embed.patch_size[0]
    built = copy.deepcopy(visual)
    built.trunk.set_input_size((grid[0] * patch, grid[1] * patch))
    before = {name: value.clone() for name, value in visual.trunk.rope.named_buffers()}
    x = torch.randn(2, 3, grid[0] * patch, grid[1] * patch)
    with torch.no_grad():
        out = build_image_tower(visual, AS_TIMM)(x)
        torch.testing.assert_close(out.pooled, built(x), atol=1e-5, rtol=1e-5)
        tokens = built.trunk.forward_features(x)[:, built.trunk.num_prefix_tokens :]
        one = built.head(built.trunk.forward_head(tokens[:, 2:3].expand(-1, 3, -1)))  # nothing but the third patch
    torch.testing.assert_close(out.dense.flatten(2)[..., 2], one, atol=1e-5, rtol=1e-5)
    assert out.grid == grid
    after = dict(visual.trunk.rope.named_buffers())
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize('offset', [0.0, 1.0])
@pytest.mark.parametrize('indexing', ['ij', 'xy'])
def test_positions_are_counted_or_fitted(offset, indexing):
    rope = RotaryEmbeddingCat(
        8, in_pixels=False, feat_shape=[4, 4], ref_feat_shape=[6, 6], grid_offset=offset, grid_indexing=indexing
    )
    grid, bands = (3, 5), 10000 ** (-torch.arange(2.0) / 2)  # a quarter of the channels, each frequency twice
    fitted, counted = (rotary_table(rope, grid, mode).unflatten(0, grid) for mode in ('fit', 'count'))
    first, second = torch.arange(3.0)[:, None] + offset, torch.arange(5.0)[None] + offset
    if indexing == 'xy':
        first, second = second, first
    sizes = (5, 3) if indexing == 'xy' else (3, 5)
    for table, scales in ((fitted, [6 / n for n in sizes]), (counted, [1.0, 1.0])):
        angles = [(axis.expand(grid) * s)[..., None] * bands for axis, s in zip((first, second), scales, strict=True)]
        angle = torch.cat(angles, dim=-1).repeat_interleave(2, dim=-1)
        torch.testing.assert_close(table, torch.cat([angle.sin(), angle.cos()], dim=-1))


def test_both_ways_agree_on_the_grid_of_the_weights():
    visual = tiny_timm('vit_pe_core_large_patch14_336', 'map', None)
    x = torch.randn(1, 3, 336, 336)
    with torch.no_grad():
        fitted, counted = (build_image_tower(visual, DenseReadOut(rotary=mode))(x).pooled for mode in ('fit', 'count'))
        torch.testing.assert_close(counted, fitted, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(visual(x), fitted, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(
            build_image_tower(visual, DenseReadOut(rotary='count'))(x[..., :168]).pooled,
            build_image_tower(visual)(x[..., :168]).pooled,
            atol=1e-5,
        )


def test_the_table_follows_the_number_type():
    rope = RotaryEmbeddingCat(8, in_pixels=False, feat_shape=[4, 4], ref_feat_shape=[6, 6]).half()
    exact = RotaryEmbeddingCat(8, in_pixels=False, feat_shape=[3, 5], ref_feat_shape=[6, 6]).get_embed()
    assert torch.equal(rotary_table(rope, (3, 5)), exact.half())


def test_a_module_without_a_table_of_its_own():
    free = RotaryEmbeddingCat(8, in_pixels=False, ref_feat_shape=[6, 6])
    bound = RotaryEmbeddingCat(8, in_pixels=False, feat_shape=[4, 4], ref_feat_shape=[6, 6])
    assert torch.equal(rotary_table(free, (3, 5)), rotary_table(bound, (3, 5)))


def test_learned_positions_are_refused():
    rope = RotaryEmbeddingMixed(16, depth=1, num_heads=2, feat_shape=[4, 4])
    with pytest.raises(ValueError, match='learns its rotary positions'):
        rotary_table(rope, (3, 5))


def test_an_unknown_mode_is_named():
    with pytest.raises(ValueError, match="rotary='stretch' is unknown; choose from fit, count"):
        DenseReadOut(rotary='stretch')
