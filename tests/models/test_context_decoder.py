"""Context decoder: sizes, initialisation and the errors of wrong ones. Parity is in tests/golden."""

import pytest
import torch
from torch import nn

from denseclip.models.heads import ContextDecoder


def small(**kwargs):
    sizes = dict(visual_dim=12, transformer_width=16, transformer_heads=4, transformer_layers=2)
    return ContextDecoder(**{**sizes, **kwargs})


def test_shapes_of_post_and_pre_model_prompting():
    visual = torch.randn(2, 7, 12)
    assert small()(torch.randn(2, 5, 12), visual).shape == (2, 5, 12)
    assert small(query_dim=20, out_dim=20)(torch.randn(2, 8, 20), visual).shape == (2, 8, 20)


def test_attention_projections_have_no_bias():
    names = [name for name, _ in small().named_parameters()]
    assert not [n for n in names if n.endswith(('q_proj.bias', 'k_proj.bias', 'v_proj.bias'))]


def test_linear_layers_start_truncated_normal_with_zero_bias():
    torch.manual_seed(0)
    decoder = small(transformer_width=128)
    for module in decoder.modules():
        if isinstance(module, nn.Linear):
            assert 0.01 < module.weight.std() < 0.03
            assert module.bias is None or not module.bias.any()


def test_order_of_the_visual_context_plays_no_part():
    decoder, text, visual = small().eval(), torch.randn(1, 5, 12), torch.randn(1, 7, 12)
    shuffled = visual[:, torch.randperm(7)]
    torch.testing.assert_close(decoder(text, shuffled), decoder(text, visual), rtol=1e-4, atol=1e-6)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match='16 is not divisible by its 5 heads'):
        small(transformer_heads=5)
