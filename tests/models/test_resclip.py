"""ResCLIP: what a first reading changes in the second."""

import pytest
import torch
from tiny_open_vocab import tiny_open_vocab

from denseclip.models.segmentors.resclip import residual_guide


def images():
    return torch.randn(2, 3, 64, 80, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_without_anything_mixed_in_it_is_naclip():
    plain = tiny_open_vocab('naclip').dense_features(images())
    nothing = tiny_open_vocab('resclip', cross=(1.0, 0.0), feedback=(1.0, 0.0))
    assert torch.allclose(nothing.dense_features(images()), plain, atol=1e-5)
    assert not torch.allclose(tiny_open_vocab('resclip').dense_features(images()), plain, atol=1e-2)


@torch.no_grad()
def test_the_first_prediction_may_be_refined():
    model = tiny_open_vocab('resclip', prior_pamr=dict(iterations=2, dilations=(1, 2)))
    assert model.head_logits(images()).shape == (2, 7, 4, 5)
    smooth = model._first_labels(images(), model.tower(images()))
    assert smooth.shape == (2, 4, 5) and int(smooth.max()) < model.num_classes


def test_weights_add_up():
    weights, prior = torch.rand(1, 2, 5, 5).softmax(-1), torch.rand(1, 5, 5)
    guide = residual_guide(weights, prior, cross=(2.0, 0.3), feedback=(2.2, 0.7))
    assert guide.gain + 2.0 * 0.3 == pytest.approx(2.0) and guide.scale == pytest.approx(2.2 * 0.3)
    assert guide.bias.amax().item() == pytest.approx(2.2 * 0.7)
    assert torch.allclose(guide.mix.sum(-1), torch.full((1, 2, 5), 0.6))


def test_it_needs_middle_blocks():
    with pytest.raises(ValueError, match='weights_from'):
        tiny_open_vocab('resclip', read_out=dict(weights_from=()))
