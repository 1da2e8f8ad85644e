"""CLIP's towers as MMSeg backbones: outputs, options, and loading. Their numbers are checked in tests/golden."""

import pytest
import torch
from parity.torchscript import write_torchscript
from torch import nn

from denseclip.models.backbones import CLIPConvNeXt, CLIPResNet, CLIPVisionTransformer
from denseclip.weights import WeightMismatchError, write_safetensors

RESNET = dict(layers=[1, 1, 1, 1], width=8, embed_dim=12, input_resolution=64, heads=4)
VIT = dict(input_resolution=64, patch_size=16, width=16, layers=4, heads=2, embed_dim=12, out_indices=(0, 1, 2, 3))


def vit(**kwargs):
    return CLIPVisionTransformer(**{**VIT, 'norm_cfg': dict(type='BN'), **kwargs})


@pytest.mark.parametrize('make', [lambda **k: CLIPResNet(**RESNET, **k), vit], ids=['resnet', 'vit'])
def test_outputs_with_and_without_embeddings(make):
    x = torch.randn(2, 3, 64, 96)
    backbone = make()
    *stages, (pooled, dense) = backbone(x)
    assert [s.shape[1] for s in stages] == backbone.out_channels
    assert [64 // s.shape[2] for s in stages] == [4, 8, 16, 32]
    assert pooled.shape == (2, 12) and dense.shape[:2] == (2, 12)
    plain = make(with_pixel_text=False)
    assert len(plain(x)) == 4
    lost = set(backbone.state_dict()) - set(plain.state_dict())
    assert lost and all('attnpool' in key or 'ln_post' in key or 'proj' in key for key in lost)


def test_convnext_stages_and_embeddings():
    with torch.device('meta'):
        backbone = CLIPConvNeXt('convnext_base_w')
        *stages, (pooled, dense) = backbone(torch.randn(1, 3, 64, 96))
        assert [s.shape[1] for s in stages] == backbone.out_channels == [128, 256, 512, 1024]
        assert pooled.shape == (1, 640) and dense.shape == (1, 640, 2, 3)
        assert len(CLIPConvNeXt('convnext_base_w', with_pixel_text=False)(torch.randn(1, 3, 64, 96))) == 4


def test_pool_heads_follow_clip_unless_told_otherwise():
    assert CLIPResNet(layers=[1, 1, 1, 1], width=16).tower.visual.attnpool.num_heads == 8
    assert CLIPResNet(**RESNET).tower.visual.attnpool.num_heads == 4


@pytest.mark.parametrize('double', [False, True])
def test_double_class_embedding_moves_the_class_token_only_at_the_start(double):
    backbone = vit(double_class_embedding=double).eval()
    x = torch.randn(1, 3, 64, 64)
    tokens, _ = backbone.tower.embed(x)
    other = vit(double_class_embedding=not double).eval()
    other.load_state_dict(backbone.state_dict())
    others, _ = other.tower.embed(x)
    assert torch.equal(tokens[:, 1:], others[:, 1:])
    assert not torch.allclose(tokens[:, 0], others[:, 0])


def test_frozen_stages_and_norm_eval():
    backbone = CLIPResNet(**RESNET, frozen_stages=2).train()
    visual = backbone.tower.visual
    assert not any(p.requires_grad for layer in (visual.conv1, visual.bn3, visual.layer2) for p in layer.parameters())
    assert all(p.requires_grad for p in visual.layer3.parameters())
    assert not visual.layer1[0].bn1.training and visual.layer3[0].bn1.training
    still = CLIPResNet(**RESNET, norm_eval=True).train()
    assert not any(m.training for m in still.modules() if isinstance(m, nn.BatchNorm2d))
    with pytest.raises(ValueError, match='frozen_stages'):
        CLIPResNet(**RESNET, frozen_stages=5)


def openai_state(backbone):
    state = {
        f'visual.{key}': torch.randn_like(v) if v.is_floating_point() else v
        for key, v in backbone.tower.visual.state_dict().items()
    }
    return {**state, 'logit_scale': torch.zeros(()), 'ln_final.weight': torch.zeros(4)}


@pytest.mark.parametrize('archive', [True, False], ids=['torchscript', 'safetensors'])
@pytest.mark.parametrize('make', [lambda **k: CLIPResNet(**{**RESNET, **k}), vit], ids=['resnet', 'vit'])
def test_loads_an_openai_archive_and_resizes_positions(make, archive, tmp_path):
    small = make()
    state = openai_state(small)
    if archive:
        file = write_torchscript(state, tmp_path / 'clip.pt')
    else:
        file = str(write_safetensors(state, tmp_path / 'clip.safetensors'))
    same, larger, plain = (
        make(pretrained=file),
        make(pretrained=file, input_resolution=96),
        make(pretrained=file, with_pixel_text=False),
    )
    for backbone in (same, larger, plain):
        backbone.init_weights()
    own = {f'visual.{key}': value for key, value in same.tower.visual.state_dict().items()}
    for key, value in own.items():
        torch.testing.assert_close(value, state[key], rtol=1e-3, atol=1e-3)
    assert larger.position_grid()[0] == small.position_grid()[0] * 3 // 2


def test_weights_of_another_model_are_refused(tmp_path):
    file = write_safetensors(openai_state(CLIPResNet(**{**RESNET, 'width': 16})), tmp_path / 'clip.safetensors')
    with pytest.raises(WeightMismatchError, match='another shape'):
        CLIPResNet(**RESNET, pretrained=str(file)).init_weights()


@pytest.mark.parametrize(
    ('backbone', 'name'), [(CLIPResNet, 'ViT-B-16'), (CLIPVisionTransformer, 'RN50'), (CLIPConvNeXt, 'RN50')]
)
def test_models_of_another_family_are_refused(backbone, name):
    with pytest.raises(ValueError, match=name):
        backbone(model=name)


def test_activation_and_normalisation_follow_the_tag():
    with torch.device('meta'):
        openai = CLIPVisionTransformer(pretrained='openai')
        laion = CLIPVisionTransformer(pretrained='laion2b_s34b_b88k')
        inception = CLIPConvNeXt('convnext_base_w', pretrained='laion2b_s13b_b82k')
    activation = [type(b.tower.visual.transformer.resblocks[0].mlp.gelu).__name__ for b in (openai, laion)]
    assert activation == ['QuickGELU', 'GELU']
    assert openai.preprocess.as_255()['mean'] == pytest.approx([122.77, 116.75, 104.09], abs=0.01)
    assert inception.preprocess.mean


def test_only_patches_of_16_and_8_have_a_pyramid():
    with pytest.raises(ValueError, match='not 32'):
        vit(patch_size=32)
