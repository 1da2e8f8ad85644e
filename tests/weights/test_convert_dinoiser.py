"""CLIP-DINOiser's, DINO's and FOUND's files in their authors' layouts, to ours and back."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from denseclip.weights import WeightMismatchError, read_checkpoint, read_state_dict
from denseclip.weights.convert import convert
from denseclip.weights.convert.dinoiser import is_official

sys.path.insert(0, str(Path(__file__).parents[2] / 'tools'))
import convert_checkpoint


def heads() -> dict[str, torch.Tensor]:
    return {
        'obj_proj.weight': torch.randn(8, 6, 3, 3),
        'obj_proj.bias': torch.randn(8),
        'bkg_decoder.weight': torch.randn(1, 6, 1, 1),
        'bkg_decoder.bias': torch.randn(1),
    }


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return set(a) == set(b) and all(torch.equal(a[key], b[key]) for key in a)


def test_heads_there_and_back():
    theirs = heads()
    assert is_official(theirs)
    ours = convert(theirs, 'dinoiser')
    assert not is_official(ours) and all(key.startswith('head.') for key in ours)
    assert same(convert(ours, 'dinoiser', inverse=True), theirs)


def test_a_whole_module_keeps_what_is_not_derived():
    theirs = heads() | {
        'clip_backbone.backbone.visual.conv1.weight': torch.zeros(2),
        'clip_backbone.backbone.text_projection': torch.zeros(2),
        'clip_backbone._positional_embd': torch.zeros(2),
        'clip_backbone.decode_head.class_embeddings': torch.zeros(2),
        'clip_backbone.decode_head.proj.weight': torch.zeros(2),
    }
    ours = convert(theirs, 'dinoiser')
    assert set(ours) == {f'head.{key}' for key in heads()} | {'tower.visual.conv1.weight'}


def test_other_files_are_refused():
    with pytest.raises(WeightMismatchError, match='obj_proj and bkg_decoder'):
        convert({'backbone.weight': torch.zeros(1)}, 'dinoiser')
    with pytest.raises(WeightMismatchError, match='FOUND decoder'):
        convert({'weight': torch.zeros(2, 3)}, 'found')
    with pytest.raises(WeightMismatchError, match='DINO vision transformer'):
        convert({'conv1.weight': torch.zeros(2, 3)}, 'dino')


def test_the_tool_writes_last_pt_as_its_readers_expect(tmp_path: Path):
    theirs = heads()
    torch.save({'epoch': 100, 'model_state_dict': theirs}, tmp_path / 'last.pt')
    theirs_file, ours_file, back_file = (str(tmp_path / n) for n in ('last.pt', 'ours.safetensors', 'back.pth'))
    convert_checkpoint.main([theirs_file, ours_file, '--converter', 'dinoiser'])
    assert set(read_state_dict(ours_file)) == {f'head.{key}' for key in theirs}
    convert_checkpoint.main([ours_file, back_file, '--converter', 'dinoiser', '--inverse'])
    back = torch.load(back_file, weights_only=True)
    assert same(back['model_state_dict'], theirs)


def test_found_decoder_is_read_from_its_wrapper(tmp_path: Path):
    decoder = {'weight': torch.randn(1, 6, 1, 1), 'bias': torch.randn(1)}
    torch.save({'decoder': decoder}, tmp_path / 'decoder_weights.pt')
    ours = convert(read_checkpoint(tmp_path / 'decoder_weights.pt').state_dict, 'found')
    assert same(ours, decoder) and same(convert(ours, 'found', inverse=True), decoder)
    trained = {'vit_encoder.cls_token': torch.zeros(1), **{f'decoder.{k}': v for k, v in decoder.items()}}
    assert same(convert(trained, 'found'), decoder)


@pytest.mark.parametrize('prefix', ['', 'module.backbone.', 'backbone.', 'vit.'])
def test_dino_is_found_under_any_prefix(prefix: str):
    state = {'cls_token': torch.zeros(1, 1, 2), 'pos_embed': torch.zeros(1, 5, 2), 'norm.weight': torch.ones(2)}
    theirs = {prefix + key: value for key, value in state.items()}
    theirs['module.head.mlp.0.weight' if prefix.startswith('module.') else 'head.weight'] = torch.ones(1)
    assert same(convert(theirs, 'dino'), state)
    assert same(convert(state, 'dino', inverse=True), state)
