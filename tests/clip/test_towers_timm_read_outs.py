"""Read-outs of timm's trunks: each as timm's own modules give it with other weights inside the last attention."""

from __future__ import annotations

import pytest
import torch
from read_outs import READ_OUTS, affinity, dense_by_timm
from shrunk_clips import shrunk_clip, shrunk_config

from denseclip.clip.towers import DenseReadOut, TimmViTTower, build_image_tower

KINDS = ('ViT-B-16-SigLIP2', 'PE-Core-B-16', 'EVA02-B-16', 'MobileCLIP2-B', 'ViTamin-S', 'vit_medium_patch16_gap_256')


@pytest.fixture(scope='module', params=KINDS)
def visual(request):
    return shrunk_clip(shrunk_config(request.param)).visual


@torch.no_grad()
def test_every_read_out_is_timms_own_code_with_other_weights(visual):
    plain = TimmViTTower(visual)
    size = tuple(visual.trunk.patch_embed.img_size)
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    trained = plain(images)
    grid = tuple(trained.dense.shape[2:])
    for name, settings in READ_OUTS.items():
        if settings['attention'] == 'value' and getattr(visual.trunk, 'attn_pool', None) is not None:
            continue  # it names the pool's value path there, and the blocks stay as trained
        guide = affinity(grid) if settings['attention'] == 'external' else None
        out = build_image_tower(visual, DenseReadOut(pos_resize='bicubic', antialias=True, **settings))(images, guide)
        wanted = dense_by_timm(visual, images, settings, grid, guide)
        torch.testing.assert_close(out.dense.flatten(2).transpose(1, 2), wanted, atol=2e-4, rtol=1e-3, msg=name)
        torch.testing.assert_close(out.pooled, trained.pooled, atol=1e-5, rtol=1e-4)
        assert not torch.allclose(out.dense, trained.dense, atol=1e-3), name


@torch.no_grad()
def test_wide_pictures_and_another_grid_of_the_affinity(visual):
    tower = build_image_tower(visual, DenseReadOut(pooled=False, **READ_OUTS['external, bare']))
    height, width = tower.multiple
    images = torch.randn(2, 3, 9 * height, 16 * width)
    guide = affinity((5, 7))
    assert tower(images, guide).dense.shape[2:] == (5, 7)
    bare = build_image_tower(visual, DenseReadOut(pooled=False, **READ_OUTS['qq, bare']))
    both = bare(images).dense
    assert both.shape[2:] == (9, 16)
    torch.testing.assert_close(bare(images[1:]).dense, both[1:], atol=1e-4, rtol=1e-3)
