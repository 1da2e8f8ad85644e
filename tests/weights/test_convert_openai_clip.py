"""CLIP state dicts taken apart."""

import open_clip
import pytest
import torch

from denseclip.weights import WeightMismatchError, load_into
from denseclip.weights.convert import convert

TEXT = {'context_length': 9, 'vocab_size': 20, 'width': 8, 'heads': 2, 'layers': 1}
RESNET = {'layers': [1, 1, 1, 1], 'width': 8, 'image_size': 64, 'head_width': 64}
VIT = {'layers': 1, 'width': 16, 'patch_size': 8, 'image_size': 32, 'head_width': 8}


def openai_state(vision):
    state = dict(open_clip.CLIP(6, vision, TEXT).state_dict())
    state.update(input_resolution=torch.tensor(64), context_length=torch.tensor(9), vocab_size=torch.tensor(20))
    return state


@pytest.mark.parametrize('vision', [RESNET, VIT])
def test_whole_model(vision):
    state = convert(openai_state(vision), 'openai_clip')
    load_into(open_clip.CLIP(6, vision, TEXT), state)


@pytest.mark.parametrize(('vision', 'rows'), [(RESNET, 13), (VIT, 13)])
def test_image_part_with_another_grid(vision, rows):
    key = 'attnpool.positional_embedding' if vision is RESNET else 'positional_embedding'
    visual = convert(openai_state(vision), 'openai_clip', part='visual', grid=(3, 4))
    assert visual[key].shape[0] == rows
    assert not any(k.startswith(('visual.', 'transformer.resblocks.0.attn.in_proj_weight.')) for k in visual)
    assert 'token_embedding.weight' not in visual


def test_text_part_with_a_shorter_context():
    state = openai_state(VIT)
    text = convert(state, 'openai_clip', part='text', context_length=5)
    assert torch.equal(text['positional_embedding'], state['positional_embedding'][:5])
    assert not any(k.startswith('visual.') for k in text)
    assert 'logit_scale' not in text and 'vocab_size' not in text
    with pytest.raises(ValueError, match='9 positions; a context of 10'):
        convert(state, 'openai_clip', part='text', context_length=10)


def test_text_under_its_own_prefix():
    state = {'text.ln_final.weight': torch.ones(2), 'visual.proj': torch.ones(1)}
    assert list(convert(state, 'openai_clip', part='text')) == ['ln_final.weight']


def test_an_image_tower_has_no_text_part():
    with pytest.raises(WeightMismatchError, match='no text tower of CLIP: found visual.proj'):
        convert({'visual.proj': torch.ones(1)}, 'openai_clip', part='text', context_length=5)


def test_unknown_part():
    with pytest.raises(ValueError, match="not 'image'"):
        convert({}, 'openai_clip', part='image')
