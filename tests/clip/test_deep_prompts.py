"""Coupled prompts in both towers: where they stand, what they leave alone, and what they do not go with."""

import pytest
import torch

from denseclip.clip.attention import Guide
from denseclip.clip.deep_prompts import CoupledPrompts, read_deep_prompts, write_deep_prompts
from denseclip.clip.loading import build_clip
from denseclip.clip.text import CLIPTextTower
from denseclip.clip.towers import DenseReadOut, build_image_tower
from denseclip.clip.towers.windowed_vit import WindowedViTTower
from denseclip.weights import WeightMismatchError, write_safetensors
from denseclip.weights.convert import convert

TEXT = dict(context_length=12, vocab_size=40, width=24, heads=2, layers=3)
VISION = dict(image_size=32, patch_size=8, layers=4, width=32, head_width=8)


@pytest.fixture(scope='module')
def clip():
    torch.manual_seed(0)
    return build_clip(dict(embed_dim=16, vision_cfg=VISION, text_cfg=TEXT)).eval()


def prompts(depth=2, length=2, seed=0):
    torch.manual_seed(seed)
    made = CoupledPrompts(24, 32, length, depth)
    with torch.no_grad():
        for tokens in made.tokens:
            tokens.normal_()
    return made


def pictures(*size):
    return torch.randn(2, 3, *(size or (32, 32)), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    'read_out',
    [{}, dict(attention='value', ffn=False, residual=False), dict(attention='kk', gaussian=2.0), dict(ffn_inputs=(1,))],
    ids=['trained', 'value', 'gaussian', 'inputs'],
)
@torch.no_grad()
def test_read_outs_keep_their_shapes_and_change(clip, read_out):
    options = dict(out_indices=(0, 2), **read_out)
    plain = build_image_tower(clip.visual, DenseReadOut(**options))
    with_prompts = build_image_tower(clip.visual, DenseReadOut(**options))
    with_prompts.take_prompts(prompts())
    image = pictures(40, 24)
    before, after = plain(image), with_prompts(image)
    for name in ('dense', 'pooled', 'unprojected'):
        first, second = getattr(before, name), getattr(after, name)
        assert first.shape == second.shape and not torch.allclose(first, second, atol=1e-3), name
    assert [s.shape for s in before.stages] == [s.shape for s in after.stages]
    assert [s.shape for s in before.ffn_inputs] == [s.shape for s in after.ffn_inputs]


@torch.no_grad()
def test_the_pooled_embedding_does_not_depend_on_what_else_is_read(clip):
    alone = build_image_tower(clip.visual, DenseReadOut(dense=False))
    all_of_it = build_image_tower(clip.visual, DenseReadOut(out_indices=(3,), attention='value'))
    for tower in (alone, all_of_it):
        tower.take_prompts(prompts(depth=3))
    assert torch.allclose(alone(pictures()).pooled, all_of_it(pictures()).pooled, atol=1e-5)


@torch.no_grad()
def test_padding_of_texts_changes_nothing_and_positions_are_counted(clip):
    tower = CLIPTextTower(clip)
    tower.take_prompts(prompts(depth=3))
    tokens = torch.tensor([[38, 3, 5, 39]])
    padded = torch.cat([tokens, torch.zeros(1, 4, dtype=torch.long)], dim=1)
    assert torch.allclose(tower.encode_tokens(tokens), tower.encode_tokens(padded), atol=1e-5)
    assert tower.context_length == 10
    tower.encode_tokens(torch.zeros(1, 10, dtype=torch.long))
    with pytest.raises(ValueError, match='13 tokens'):
        tower.encode_tokens(torch.zeros(1, 11, dtype=torch.long))
    with pytest.raises(ValueError, match='no further contexts'):
        tower.encode_tokens(tokens, torch.zeros(1, 1, 24))


def test_one_prompt_at_the_input_is_a_context(clip):
    tower, other = CLIPTextTower(clip), CLIPTextTower(clip)
    made = prompts(depth=1)
    tower.take_prompts(made)
    tokens = torch.tensor([[38, 3, 5, 39]])
    assert torch.equal(tower.encode_tokens(tokens), other.encode_tokens(tokens, made.tokens[0][None]))


def test_what_does_not_fit_is_refused(clip):
    with pytest.raises(ValueError, match='depth 4 .* text tower, which has 3 blocks'):
        CLIPTextTower(clip).take_prompts(prompts(depth=4))
    with pytest.raises(ValueError, match='changed blocks'):
        build_image_tower(clip.visual, DenseReadOut(attention='value')).take_prompts(prompts(depth=4))
    with pytest.raises(ValueError, match='window_size'):
        WindowedViTTower(clip.visual, DenseReadOut(), window_size=2).take_prompts(prompts())
    with pytest.raises(ValueError, match='keys'):
        build_image_tower(clip.visual, DenseReadOut(attention='value', keys='raw')).take_prompts(prompts())
    tower = build_image_tower(clip.visual, DenseReadOut())
    tower.take_prompts(prompts())
    with pytest.raises(ValueError, match='own way'):
        tower.embed(pictures())
    with pytest.raises(ValueError, match='guide'):
        tower(pictures(), Guide())
    with pytest.raises(ValueError, match='1 at least'):
        CoupledPrompts(8, 8, length=0)
    resnet = build_clip(dict(embed_dim=16, vision_cfg=dict(image_size=32, layers=[1, 1, 1, 1], width=8), text_cfg=TEXT))
    with pytest.raises(ValueError, match='vision transformer'):
        build_image_tower(resnet.visual).take_prompts(prompts())


def test_files_and_the_authors_names(tmp_path):
    made = prompts(depth=3)
    write_deep_prompts(made, tmp_path)
    again = read_deep_prompts(tmp_path)
    assert all(torch.equal(again.state_dict()[k], v) for k, v in made.state_dict().items())
    theirs = convert(made.state_dict(), 'maple', inverse=True)
    assert {'prompt_learner.ctx', 'prompt_learner.proj.bias', 'prompt_learner.compound_prompts_text.1'} <= set(theirs)
    back = convert({**theirs, 'prompt_learner.token_prefix': torch.zeros(3, 1, 24)}, 'maple')
    assert back.keys() == made.state_dict().keys()
    assert read_deep_prompts(tmp_path / 'nowhere') is None
    write_safetensors({'mask': torch.zeros(2)}, tmp_path / 'deep_prompts.safetensors')
    with pytest.raises(WeightMismatchError, match='no deep prompts'):
        read_deep_prompts(tmp_path)
    with pytest.raises(WeightMismatchError, match='MaPLe'):
        convert({'prompt_learner.ctx': torch.zeros(2, 24)}, 'maple')
