"""PixelTextFPNHead: text as classifier."""

import math

import pytest
import torch
import torch.nn.functional as F
from parity.samples import data_samples

from denseclip.models.functional.matching import pixel_text_score_map
from denseclip.models.heads import PixelTextFPNHead


def small(**kwargs):
    sizes = dict(embed_dim=16, in_channels=[6] * 2, in_index=[0, 1], feature_strides=[4, 8], channels=8)
    return PixelTextFPNHead(**{**sizes, 'norm_cfg': dict(type='BN'), 'align_corners': False, **kwargs})


@pytest.fixture
def levels():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 6, 8, 8, generator=generator), torch.randn(2, 6, 4, 4, generator=generator)]


@pytest.mark.parametrize('classes', [1, 3, 40])
def test_any_number_of_classes(levels, classes):
    logits = small()([torch.randn(1, classes, 16), *levels])
    assert logits.shape == (2, classes, 8, 8)


def test_logits_are_cosines_over_tau(levels):
    head, text = small(tau=0.1, dropout_ratio=0).eval(), torch.randn(1, 5, 16)
    embedded = head.conv_seg(head.pixel_features(levels))
    torch.testing.assert_close(head([text, *levels]), pixel_text_score_map(embedded, text) / 0.1, rtol=1e-3, atol=1e-3)


def test_a_synonym_with_the_same_embedding_gives_the_same_logits(levels):
    head, text = small().eval(), torch.randn(1, 5, 16)
    torch.testing.assert_close(head([text * 3, *levels]), head([text, *levels]))


def test_temperature(levels):
    assert not dict(small().named_parameters()).get('log_scale', torch.zeros(0)).numel()
    learnt = small(tau=0.05, learnable_tau=True)
    assert learnt.log_scale.exp().item() == pytest.approx(20)
    with torch.no_grad():
        learnt.log_scale.fill_(math.log(1e6))
    assert learnt.eval()([torch.randn(1, 3, 16), *levels]).abs().max() <= 100.01
    with pytest.raises(ValueError, match='tau > 0'):
        small(tau=0)


@pytest.mark.parametrize('detach', [False, True])
def test_gradient_to_the_text_can_be_stopped(levels, detach):
    text = torch.randn(1, 4, 16, requires_grad=True)
    losses = small(detach_text=detach).loss([text, *levels], data_samples(torch.zeros(2, 1, 16, 16)), {})
    losses['loss_ce'].backward()
    assert (text.grad is None) is detach


def test_missing_text_is_named(levels):
    with pytest.raises(ValueError, match='text_head=True'):
        small()(levels)


def test_learns_to_tell_two_words_apart():
    torch.manual_seed(0)
    head, text = small(dropout_ratio=0), F.normalize(torch.randn(1, 2, 16), dim=-1)
    levels = [torch.randn(1, 6, 8, 8), torch.randn(1, 6, 4, 4)]
    label = (levels[0][:, :1] > 0).long()
    optimizer = torch.optim.Adam(head.parameters(), 0.02)
    for _ in range(40):
        loss = head.loss([text, *levels], data_samples(label), {})['loss_ce']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.3
