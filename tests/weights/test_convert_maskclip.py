"""The original MaskCLIP's and MaskCLIP+'s weights, to ours and back."""

from __future__ import annotations

import pytest
import torch
from tiny_dinoiser import CLIP, tiny_maskclip_plus

from denseclip.clip.towers import build_resnet
from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.weights import WeightMismatchError, load_into, strip_prefix
from denseclip.weights.convert import convert


def image_towers() -> dict[str, torch.nn.Module]:
    return {
        'vit': OpenCLIPParts(**CLIP).clip.model.visual,
        'resnet': build_resnet([1, 1, 1, 1], width=8, embed_dim=4, image_size=64),
    }


@pytest.mark.parametrize('kind', ['vit', 'resnet'])
def test_every_tensor_goes_there_and_back(kind: str):
    module = image_towers()[kind]
    ours = {f'visual.{key}': value for key, value in module.state_dict().items()}
    theirs = convert(ours, 'maskclip', inverse=True)
    assert all(key.startswith(('backbone.', 'decode_head.')) for key in theirs)
    again = convert(theirs, 'maskclip')
    lost = set(ours) - set(again)
    assert lost == ({'visual.attnpool.positional_embedding'} if kind == 'resnet' else set())
    assert all(torch.equal(again[key], ours[key]) for key in again)


def test_their_vit_names():
    ours = {f'visual.{key}': value for key, value in image_towers()['vit'].state_dict().items()}
    theirs = convert(ours, 'maskclip', inverse=True)
    assert theirs['backbone.cls_token'].shape == (1, 1, 32)
    assert theirs['decode_head.proj.weight'].shape == (16, 32, 1, 1)
    assert {
        'backbone.ln0.weight',
        'backbone.layers.3.ffn.layers.0.0.bias',
        'backbone.layers.0.attn.attn.in_proj_bias',
    } <= set(theirs)


def test_heads_text_and_unused_classifier_are_left_out():
    state = {'decode_head.text_embeddings': torch.ones(2, 3), 'decode_head.conv_seg.bias': torch.ones(2)}
    assert convert(state, 'maskclip') == {}


@pytest.mark.parametrize('name', ['neck.conv.weight', 'backbone.blocks.0.norm1.weight'])
def test_unknown_names_are_refused(name: str):
    with pytest.raises(WeightMismatchError, match=name.replace('.', r'\.')):
        convert({name: torch.ones(1)}, 'maskclip')


def test_a_student_goes_there_and_back():
    model = tiny_maskclip_plus()
    own = {k: v for k, v in model.state_dict().items() if not k.startswith('teacher.')}
    theirs = convert(model.state_dict(), 'maskclip_plus', inverse=True)
    assert any(key.startswith('decode_head.decode_module.aspp_modules.') for key in theirs)
    ours = convert(
        {**theirs, 'decode_head.text_embeddings': torch.ones(1), 'decode_head.proj.weight': torch.ones(1)},
        'maskclip_plus',
    )
    assert set(ours) == set(own) and all(torch.equal(ours[key], own[key]) for key in own)
    load_into(model.decode_head, strip_prefix(ours, 'decode_head.'))
