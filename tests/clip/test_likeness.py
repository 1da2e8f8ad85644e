"""Averages by how alike tokens are, and the read-outs that use them."""

import pytest
import torch

from denseclip.clip import token_repair
from denseclip.clip.deep_prompts import CoupledPrompts
from denseclip.clip.errors import NoReadOutError
from denseclip.clip.likeness import Likeness
from denseclip.clip.presets import preset
from denseclip.clip.towers import DenseReadOut, build_image_tower, build_vit

SMALL = {'alike': 2, 'after': 1, 'summed': (0, 1)}


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('cut_first', [False, True])
@pytest.mark.parametrize('at_once', [2**24, 30])
def test_means_are_those_of_the_whole_matrix(monkeypatch, at_once, cut_first):
    monkeypatch.setattr(token_repair, 'NUMBERS_AT_ONCE', at_once)
    tokens, values = random(2, 9, 6), random(2, 3, 9, 4, seed=1)
    likeness = Likeness(tokens, least=0.1, sharpness=5.0, cut_first=cut_first)
    cosines = torch.nn.functional.cosine_similarity(tokens[:, :, None], tokens[:, None], dim=-1)
    cut = cosines * (cosines >= 0.1)
    x = values.transpose(1, 2).flatten(2)
    torch.testing.assert_close(likeness.gather(x), cut @ x / (cut.sum(-1, keepdim=True) + 1e-6))
    used = cut if cut_first else cosines
    logits = 5 * (used - used.mean(dim=(1, 2), keepdim=True))
    weights = logits.masked_fill(logits < 0, float('-inf')).softmax(-1)
    torch.testing.assert_close(likeness.attend(values), weights[:, None] @ values)


def test_flat_pictures_and_autocast():
    flat = Likeness(random(1, 1, 6).expand(1, 50, 6))
    assert flat.attend(random(1, 2, 50, 3)).isfinite().all() and flat.gather(random(1, 50, 3)).isfinite().all()
    likeness, values = Likeness(random(1, 50, 6)), random(1, 2, 50, 3, seed=3)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(likeness.attend(values), Likeness(random(1, 50, 6)).attend(values))


def tower(read_out, layers=4):
    torch.manual_seed(0)
    visual = build_vit(image_size=32, patch_size=8, width=16, layers=layers, heads=2, embed_dim=4)
    return build_image_tower(visual, DenseReadOut(pooled=False, **read_out)).eval()


def settings(name='scclip', **more):
    found = dict(preset(name).read_out)
    return {**found, 'middle': {**found['middle'], **SMALL}, **more}


def test_blocks_count_from_both_ends():
    images = random(1, 3, 32, 48)
    with torch.no_grad():
        found = [
            tower(settings(middle=middle))(images).dense
            for middle in (SMALL, {'alike': -2, 'after': -3, 'summed': (-4, -3)}, {**SMALL, 'summed': ()})
        ]
    assert torch.equal(found[0], found[1]) and not torch.allclose(found[0], found[2], atol=1e-3)


@pytest.mark.parametrize('repair', [{'share': 0.2}, {'sign': 'attention', 'factor': 9.0}])
def test_repair_is_a_setting_of_every_read_out(repair):
    images = random(1, 3, 48, 56)
    with torch.no_grad():
        for name in ('naclip', 'pearl', 'maskclip', 'resclip'):
            plain = dict(preset(name).read_out)
            before, after = (tower({**plain, **more}, 7)(images).dense for more in ({}, {'repair': repair}))
            assert before.shape == after.shape and not torch.allclose(before, after, atol=1e-3)


@pytest.mark.parametrize(
    ('read_out', 'layers', 'sentence'),
    [
        (dict(preset('scclip').read_out), 5, 'takes tokens after block 8, but this tower has blocks 0 to 4'),
        (settings(middle={**SMALL, 'after': 3}), 4, 'the last one is the one that is changed'),
        (settings('sfp', middle=None, attention='qq'), 1, 'there is none'),
    ],
)
def test_towers_that_are_too_shallow_are_refused(read_out, layers, sentence):
    with pytest.raises(NoReadOutError, match=sentence):
        tower(read_out, layers)


@pytest.mark.parametrize(
    'wrong',
    [
        dict(attention='kk+alike'),
        dict(middle={}),
        dict(middle={}, residual=False, ffn=False, layers=2),
        dict(middle={'summed_attention': 'ww'}, residual=False, ffn=False),
    ],
)
def test_settings_that_contradict_each_other_are_refused(wrong):
    with pytest.raises(ValueError, match='middle|unknown'):
        DenseReadOut(**wrong)


def test_deep_prompts_are_refused():
    prompts = CoupledPrompts.__new__(CoupledPrompts)
    model = tower(settings())
    with pytest.raises(ValueError, match='middle blocks, with repaired tokens'):
        prompts.check = lambda *_, **__: None
        model.take_prompts(prompts)
