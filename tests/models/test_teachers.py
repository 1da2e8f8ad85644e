"""DINO and FOUND: reading, sizes, files in their authors' layouts, and checkpoints without them."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from denseclip.models.providers import DINOAffinity
from denseclip.models.teachers import DINOTeacher, DINOTower, FOUNDSeedTeacher, FOUNDTeacher
from denseclip.weights import WeightMismatchError

SIZES = dict(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3)


def tower(**options) -> DINOTower:
    torch.manual_seed(0)
    return DINOTower('vit_tiny_patch16_224', **{**SIZES, **options})


@pytest.mark.parametrize('extra', [{}, dict(reg_tokens=2, no_embed_class=True), dict(init_values=0.5)])
def test_tokens_and_values_are_timms(extra):
    ours = tower(**extra)
    images = torch.randn(2, 3, 32, 32)
    seen = {}
    hook = ours.vit.blocks[-1].attn.qkv.register_forward_hook(lambda m, i, o: seen.update(qkv=o))
    expected = ours.vit.forward_features(images)
    hook.remove()
    prefix = ours.vit.num_prefix_tokens
    out = ours(images, tokens=True, attention=True)
    torch.testing.assert_close(out.tokens.flatten(2).transpose(1, 2), expected[:, prefix:])
    value = seen['qkv'][:, prefix:].chunk(3, -1)[2]
    torch.testing.assert_close(out.value.flatten(2).transpose(1, 2), value)
    assert out.attention.shape == (2, 3, 16)
    assert bool((out.attention.sum(-1) < 1).all())  # the rest went to the special tokens


def test_any_size_and_no_gradient():
    teacher = DINOTeacher(tower())
    found = teacher(torch.rand(1, 3, 21, 50))
    assert found.shape == (1, 3 * 7, 3, 7) and not found.requires_grad
    assert teacher(torch.rand(1, 3, 21, 50), (2, 4)).shape == (1, 8, 2, 4)


def test_padding_is_black_not_grey():
    teacher = FOUNDTeacher(tower())
    images = torch.rand(1, 3, 20, 32)
    by_hand = torch.nn.functional.pad(images, (0, 0, 0, 4))
    torch.testing.assert_close(teacher.logits(images), teacher.logits(by_hand))


def test_seed_teacher_answers_zero_or_one_on_the_asked_grid():
    teacher = FOUNDSeedTeacher(tower())
    own = teacher.foreground(torch.rand(2, 3, 32, 40))
    assert set(own.unique().tolist()) <= {0.0, 1.0}
    assert teacher(torch.rand(2, 3, 32, 40), (2, 2)).shape == (2, 1, 2, 2)


def test_a_teacher_stays_in_evaluation_mode_and_out_of_checkpoints():
    model = torch.nn.ModuleDict({'teacher': FOUNDTeacher(tower()), 'layer': torch.nn.Linear(2, 2)}).train()
    assert not model['teacher'].training and not any(p.requires_grad for p in model['teacher'].parameters())
    state = model.state_dict()
    assert set(state) == {'layer.weight', 'layer.bias'}
    before = model['teacher'].decoder.weight.clone()
    model.load_state_dict(state, strict=True)
    assert torch.equal(model['teacher'].decoder.weight, before)


@pytest.mark.parametrize('layout', ['pretrain', 'full checkpoint'])
def test_reads_dinos_files_at_the_first_use(tmp_path: Path, layout: str):
    reference = tower(pretrained=None)
    torch.nn.init.normal_(reference.vit.norm.weight)
    state = dict(reference.vit.state_dict())
    path = tmp_path / 'dino_pretrain.pth'
    if layout == 'pretrain':
        torch.save(state, path)
    else:
        teacher = {f'module.backbone.{k}': v for k, v in state.items()} | {'module.head.mlp.0.weight': torch.ones(1)}
        torch.save({'student': {'a': torch.ones(1)}, 'teacher': teacher, 'epoch': 3}, path)
    torch.manual_seed(1)
    read = DINOTower('vit_tiny_patch16_224', pretrained=str(path), **SIZES)
    images = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(read(images, tokens=True).tokens, reference(images, tokens=True).tokens)


V3 = dict(embed_dim=24, depth=2, num_heads=3, img_size=64)


def shaken(model_name: str, **options) -> DINOTower:
    torch.manual_seed(0)
    ours = DINOTower(model_name, **options)
    for parameter in ours.vit.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return ours


def test_dinov3_is_timms_at_any_size():
    ours = shaken('vit_small_patch16_dinov3', **V3)
    for size in ((64, 64), (48, 96)):
        images = torch.randn(2, 3, *size)
        out = ours(images, tokens=True, attention=True)
        expected = ours.vit.forward_features(images)[:, ours.vit.num_prefix_tokens :]
        torch.testing.assert_close(out.tokens.flatten(2).transpose(1, 2), expected, atol=1e-5, rtol=1e-4)
        assert out.attention.shape == (2, 3, size[0] * size[1] // 256)
    affinity = DINOAffinity(ours, feature='query+key')
    assert affinity(torch.rand(1, 3, 30, 60), ours.preprocess).grid == (2, 4)


def _dinov3_file(state: dict, bias: bool) -> dict:
    """The authors' layout of a timm model's tensors."""
    found = {'mask_token': torch.zeros(1, 24), 'rope_embed.periods': torch.ones(2)}
    gated = [('fc1_g', 'w1'), ('fc1_x', 'w2'), ('fc2', 'w3')] if any('fc1_g' in key for key in state) else []
    for key, value in state.items():
        for ours, theirs in (
            ('reg_token', 'storage_tokens'),
            ('.gamma_1', '.ls1.gamma'),
            ('.gamma_2', '.ls2.gamma'),
            *gated,
        ):
            key = key.replace(ours, theirs)
        if not key.endswith(('q_bias', 'v_bias')):
            found[key] = value
    for block in range(2):
        own = [state.get(f'blocks.{block}.attn.{n}_bias', torch.zeros(24)) for n in 'qv']
        name = f'blocks.{block}.attn.qkv.bias'
        found[name] = torch.cat([own[0], torch.full((24,), 7.0 if bias else 0.0), own[1]])
        found[name + '_mask'] = torch.ones(72)
    return found


@pytest.mark.parametrize('kind', ['small', 'small_plus', 'small with biases'])
def test_reads_dinov3s_own_files(tmp_path: Path, kind: str):
    bias = kind == 'small with biases'
    name = f'vit_{kind.split()[0]}_patch16_dinov3' + '_qkvb' * bias
    reference, path = shaken(name, **V3), tmp_path / 'dinov3.pth'
    torch.save(_dinov3_file(reference.vit.state_dict(), bias), path)
    read, images = DINOTower(name, pretrained=str(path), **V3), torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(read(images, tokens=True).tokens, reference(images, tokens=True).tokens)
    if bias:  # biases that are not zero are not thrown away
        with pytest.raises(WeightMismatchError, match='q_bias'):
            DINOTower('vit_small_patch16_dinov3', pretrained=str(path), **V3)(images)


def test_reads_dinov2s_own_files_with_registers(tmp_path: Path):
    options = dict(embed_dim=24, depth=2, num_heads=3, img_size=28)
    reference, path = shaken('vit_small_patch14_reg4_dinov2', **options), tmp_path / 'dinov2.pth'
    state = dict(reference.vit.state_dict())
    place = torch.randn(1, 1, 24)
    state['register_tokens'], state['mask_token'] = state.pop('reg_token'), torch.zeros(1, 24)
    state['cls_token'] = state['cls_token'] - place
    state['pos_embed'] = torch.cat([place, state['pos_embed']], dim=1)
    torch.save(state, path)
    read, images = DINOTower('vit_small_patch14_reg4_dinov2', pretrained=str(path), **options), torch.rand(1, 3, 42, 56)
    torch.testing.assert_close(read(images, tokens=True).tokens, reference(images, tokens=True).tokens)


def test_reads_founds_decoder(tmp_path: Path):
    path = tmp_path / 'decoder_weights.pt'
    weight = torch.randn(1, 24, 1, 1)
    torch.save({'decoder': {'weight': weight, 'bias': torch.ones(1)}}, path)
    teacher = FOUNDTeacher(tower(), pretrained=str(path))
    assert not torch.equal(teacher.decoder.weight, weight)  # not before it is needed
    teacher.init_weights()
    assert torch.equal(teacher.decoder.weight, weight)


def test_errors_say_what_to_do(tmp_path: Path):
    with pytest.raises(ValueError, match='plain vision transformer'):
        DINOTower('resnet18')
    with pytest.raises(ValueError, match='choose from query, key, value'):
        DINOTeacher(tower(), 'qk')
    missing = DINOTower('vit_tiny_patch16_224', pretrained=str(tmp_path / 'none.pth'), **SIZES)
    with pytest.raises(FileNotFoundError, match='none.pth'):
        missing(torch.rand(1, 3, 32, 32))
    torch.save(dict(timm.create_model('resnet10t', num_classes=0).state_dict()), tmp_path / 'resnet.pth')
    wrong = DINOTower('vit_tiny_patch16_224', pretrained=str(tmp_path / 'resnet.pth'), **SIZES)
    with pytest.raises(WeightMismatchError, match='no DINO vision transformer'):
        wrong(torch.rand(1, 3, 32, 32))
