"""Mask prompts in every kind of read-out."""

import pytest
import torch
from tiny_open_vocab import RESNET_ARCH

from denseclip.clip.loading import build_clip
from denseclip.clip.mask_prompts import MaskPrompts
from denseclip.clip.towers import DenseReadOut, ViTTower, build_image_tower, build_vit
from denseclip.models.functional.mask_prompts import encode_with_masks, kept_patches, patch_coverage


@pytest.fixture
def tower():
    return vit_tower()


def vit_tower(**read_out):
    torch.manual_seed(0)
    visual = build_vit(image_size=32, patch_size=8, width=24, layers=4, heads=3, embed_dim=12).eval()
    return ViTTower(visual, DenseReadOut(**read_out))


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_a_patch_is_blank_only_without_any_pixel():
    masks = torch.zeros(1, 8, 12)
    masks[0, 3, 4] = 1e-3
    assert kept_patches(masks, (4, 4)).tolist() == [[False, True, False, False, False, False]]
    assert patch_coverage(masks > 0, (4, 4))[0, 1] == 1 / 16


def test_nothing_blank_changes_nothing(tower, images):
    prompts = MaskPrompts(torch.ones(2, 16, dtype=torch.bool), torch.randn(3, 16, 24))
    plain, prompted = tower(images), tower(images, prompts=prompts)
    assert torch.equal(plain.pooled, prompted.pooled) and torch.equal(plain.dense, prompted.dense)


def test_blank_patches_show_nothing_of_the_picture(tower, images):
    masks = torch.zeros(2, 32, 32)
    masks[:, :16] = 1
    prompts = torch.randn(4, 16, 24)
    other = images.clone()
    other[:, :, 16:] += 5
    for embedding in (prompts, prompts[:, :1]):
        found = [encode_with_masks(tower, pictures, masks, embedding) for pictures in (images, other)]
        assert torch.equal(*found)
    assert not torch.equal(found[0], encode_with_masks(tower, images, masks, prompts))
    assert torch.equal(encode_with_masks(tower, images, None, prompts), tower(images).pooled)


@pytest.mark.parametrize('depth', [1, 2, 4])
def test_each_level_counts(tower, images, depth):
    masks = torch.zeros(2, 32, 32)
    masks[0, :8] = 1
    prompts = torch.randn(depth, 16, 24, requires_grad=True)
    encode_with_masks(tower, images, masks, prompts).square().sum().backward()
    assert (prompts.grad.flatten(1).abs().sum(1) > 0).all()
    assert (prompts.grad[:, :4].abs().sum() > 0) and prompts.grad.isfinite().all()  # blank in the second picture


def test_stages_and_dense_read_outs(images):
    prompts = MaskPrompts(torch.arange(16)[None].repeat(2, 1) < 8, torch.randn(2, 16, 24))
    for read_out in (
        dict(attention='value', residual=False, ffn=False),
        dict(attention='qq+kk', layers=2, residual=False, ffn=False, parallel=True),
        dict(out_indices=(0, 3)),
    ):
        tower = vit_tower(**read_out)
        plain, prompted = tower(images), tower(images, prompts=prompts)
        assert prompted.dense.shape == plain.dense.shape and not torch.allclose(prompted.dense, plain.dense)
        assert not torch.allclose(prompted.pooled, plain.pooled)
    # A stage is what the block gave, before the prompts after it: the first one knows those of the input alone.
    first = MaskPrompts(prompts.keep, prompts.embedding[:1])
    assert torch.equal(tower(images, prompts=prompts).stages[0], tower(images, prompts=first).stages[0])


def test_prompts_may_not_reach_into_changed_blocks(images):
    prompts = MaskPrompts(torch.ones(2, 16, dtype=torch.bool), torch.randn(4, 16, 24))
    with pytest.raises(ValueError, match='reach into'):
        vit_tower(attention='value', layers=2)(images, prompts=prompts)


def test_another_picture_size(tower):
    images = torch.randn(1, 3, 48, 24)
    keep = torch.zeros(1, 18, dtype=torch.bool)
    own = MaskPrompts(keep, torch.arange(16.0)[None, :, None].expand(1, 16, 24))
    assert tower(images, prompts=own).pooled.shape == (1, 12)
    replaced = own.replace(torch.zeros(1, 18, 24), 0, (6, 3))[0, :, 0].view(6, 3)
    assert (replaced.diff(dim=0) > 0).all() and (replaced.diff(dim=1) > 0).all()


def test_what_does_not_fit(tower, images):
    for keep, embedding in ((torch.ones(2, 9), torch.randn(1, 9, 24)), (torch.ones(2, 16), torch.randn(1, 16, 20))):
        with pytest.raises(ValueError, match='mask prompts for'):
            tower(images, prompts=MaskPrompts(keep.bool(), embedding))


def test_timm_transformers():
    vision = dict(timm_model_name='vit_tiny_patch16_224', timm_pool='', timm_proj='linear', image_size=32)
    torch.manual_seed(0)
    clip = build_clip(dict(embed_dim=12, vision_cfg=vision, text_cfg=dict(width=16, heads=2, layers=1)))
    tower = build_image_tower(clip.visual.eval(), DenseReadOut(pooled=False))
    images = torch.randn(1, 3, 32, 32)
    keep = torch.tensor([[True, False, False, False]])
    prompts = MaskPrompts(keep, torch.randn(2, 1, 192))
    other = images.clone()
    other[:, :, 16:] += 1
    assert torch.equal(tower(images, prompts=prompts).dense, tower(other, prompts=prompts).dense)
    assert not torch.equal(tower(images).dense, tower(images, prompts=prompts).dense)


def test_towers_without_patches_refuse():
    clip = build_clip(RESNET_ARCH)
    with pytest.raises(ValueError, match='vision transformer'):
        build_image_tower(clip.visual)(
            torch.randn(1, 3, 64, 64), prompts=MaskPrompts(torch.ones(1, 4).bool(), torch.randn(1, 4, 8))
        )
