"""CLIP's text tower against open_clip's own forward, and DenseCLIP's contexts."""

import open_clip
import pytest
import torch

from denseclip.clip.text import CLIPTextTower
from denseclip.clip.text.causal import insert_contexts

VIT = {'layers': 1, 'width': 16, 'patch_size': 8, 'image_size': 16, 'head_width': 8}
TEXT = {'context_length': 20, 'width': 16, 'heads': 2, 'layers': 2}
PROMPTS = ['road', 'traffic light', 'a photo of a dog.']


@pytest.mark.parametrize('quick_gelu', [False, True])
@pytest.mark.parametrize('custom', [False, True])
def test_equals_open_clip(custom, quick_gelu):
    torch.manual_seed(0)
    kind = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    clip = kind(8, VIT, TEXT, quick_gelu=quick_gelu).eval()
    tower = CLIPTextTower(clip.text if custom else clip)
    tokens = open_clip.tokenize(PROMPTS, 20)
    with torch.no_grad():
        assert torch.allclose(tower.encode(PROMPTS), clip.encode_text(tokens), atol=1e-5)
    assert (tower.context_length, tower.width, tower.embed_dim) == (20, 16, 8)


def test_parts_are_shared_not_copied():
    clip = open_clip.CLIP(8, VIT, TEXT)
    tower = CLIPTextTower(clip)
    assert tower.token_embedding is clip.token_embedding
    assert {k for k in clip.state_dict() if not k.startswith(('visual.', 'logit_scale'))} == set(tower.state_dict())


def test_eos_pooling_and_linear_projection():
    torch.manual_seed(0)
    config = {**TEXT, 'vocab_size': 30, 'pool_type': 'eos', 'eos_id': 5, 'proj_bias': True}
    clip = open_clip.CustomTextCLIP(8, VIT, config).eval()
    tower = CLIPTextTower(clip.text)
    tokens = torch.randint(6, 30, (3, 20))
    tokens[torch.arange(3), torch.tensor([4, 19, 9])] = 5
    with torch.no_grad():
        assert torch.allclose(tower.encode_tokens(tokens)[0], clip.encode_text(tokens), atol=1e-5)
    assert tower.embed_dim == 8


@pytest.mark.parametrize('change', [{'no_causal_mask': True}, {'pool_type': 'last'}, {'embed_cls': True}])
def test_other_text_towers_are_refused(change):
    clip = open_clip.CustomTextCLIP(8, VIT, {**TEXT, **change})
    assert not CLIPTextTower.supports(clip.text)
    with pytest.raises(ValueError, match='FullLengthTextTower'):
        CLIPTextTower(clip.text)


@pytest.fixture
def tower():
    torch.manual_seed(0)
    return CLIPTextTower.create(context_length=13, vocab_size=40, width=16, heads=2, layers=2, embed_dim=8).eval()


TOKENS = torch.tensor([[38, 3, 39, 0, 0], [38, 7, 8, 9, 39]])


def test_contexts_stand_after_the_start_token(tower):
    """Word vectors of real tokens, given as contexts, equal those tokens."""
    words = torch.tensor([11, 12, 13])
    contexts = tower.token_embedding(words)[None]
    spelled = torch.cat([TOKENS[:, :1], words.expand(2, -1), TOKENS[:, 1:]], dim=1)
    assert torch.allclose(tower.encode_tokens(TOKENS, contexts), tower.encode_tokens(spelled), atol=1e-6)


def test_each_context_set_is_independent(tower):
    contexts = torch.randn(3, 8, 16)
    together = tower.encode_tokens(TOKENS, contexts)
    assert together.shape == (3, 2, 8)
    for i in range(3):
        assert torch.allclose(together[i : i + 1], tower.encode_tokens(TOKENS, contexts[i : i + 1]), atol=1e-6)


def test_gradients_reach_contexts_of_a_frozen_tower(tower):
    tower.requires_grad_(False)
    contexts = torch.randn(1, 4, 16, requires_grad=True)
    tower.encode_tokens(TOKENS, contexts).sum().backward()
    assert contexts.grad.abs().sum() > 0


@pytest.mark.parametrize('checkpointing', [True])
def test_checkpointing_gives_the_same_gradient(tower, checkpointing):
    contexts = torch.randn(1, 4, 16, requires_grad=True)
    (plain,) = torch.autograd.grad(tower.encode_tokens(TOKENS, contexts).sum(), contexts)
    tower.grad_checkpointing = checkpointing
    (again,) = torch.autograd.grad(tower.encode_tokens(TOKENS, contexts).sum(), contexts)
    assert torch.allclose(plain, again, atol=1e-6)


def test_too_many_contexts_are_explained(tower):
    with pytest.raises(ValueError, match=r'14 tokens \(contexts included\) do not fit into 13 positions'):
        tower.encode_tokens(TOKENS, torch.randn(1, 9, 16))


def test_insert_contexts_layout():
    words = torch.arange(6.0).reshape(2, 3, 1)
    contexts = torch.tensor([[[10.0]], [[20.0]]])
    assert insert_contexts(words, contexts)[..., 0].tolist() == [
        [0, 10, 1, 2],
        [3, 10, 4, 5],
        [0, 20, 1, 2],
        [3, 20, 4, 5],
    ]


def test_fresh_weights_are_finite(tower):
    fresh = CLIPTextTower.create(context_length=5, width=16, heads=2, layers=1, embed_dim=4)
    assert all(torch.isfinite(p).all() for p in fresh.parameters())
    assert fresh.positional_embedding.std().item() == pytest.approx(0.01, rel=0.4)


def test_bfloat16_autocast_is_finite(tower):
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.isfinite(tower.encode_tokens(TOKENS, torch.randn(1, 4, 16))).all()
