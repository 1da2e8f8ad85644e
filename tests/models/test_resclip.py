"""ResCLIP: what a first reading changes in the second."""

import math

import pytest
import torch
from tiny_open_vocab import tiny_open_vocab

from denseclip.models.functional.affinity import semantic_prior
from denseclip.models.functional.pamr import pamr
from denseclip.models.segmentors.resclip import patch_labels, residual_guide


def images():
    return torch.randn(2, 3, 64, 80, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_without_anything_mixed_in_it_is_naclip():
    plain = tiny_open_vocab('naclip').dense_features(images())
    nothing = tiny_open_vocab('resclip', cross=(1.0, 0.0), feedback=(1.0, 0.0))
    assert torch.allclose(nothing.dense_features(images()), plain, atol=1e-5)
    assert not torch.allclose(tiny_open_vocab('resclip').dense_features(images()), plain, atol=1e-2)


@torch.no_grad()
def test_the_first_prediction_hears_middle_blocks_and_may_be_refined():
    model = tiny_open_vocab('resclip', prior_pamr=dict(iterations=2, dilations=(1, 2)))
    assert model.head_logits(images()).shape == (2, 7, 4, 5)
    out = model.tower(images())
    smooth = model._first_labels(images(), out)
    assert smooth.shape == (2, 4, 5) and int(smooth.max()) < model.text.num_rows
    read = []
    model._first_labels = lambda _, out: read.append(out.dense) or torch.zeros(2, 4, 5, dtype=torch.long)
    model.dense_features(images())
    first = residual_guide(out.weights, None, model.cross)
    assert torch.equal(read[0], model.tower.read_dense(out.tokens, out.grid, first)[0])
    assert not torch.allclose(read[0], out.dense, atol=1e-3)


@pytest.mark.parametrize('least', [0.0, 0.055, 1.0])
@pytest.mark.parametrize('refine', [None, dict(iterations=3, dilations=(1, 2))])
def test_patches_take_the_most_frequent_name_of_their_pixels(least, refine):
    """The authors' ``create_logit_temp`` and ``create_patch_matrix``, with all planes at once."""
    draw = torch.Generator().manual_seed(2)
    image, cosines = torch.randn(2, 3, 24, 32, generator=draw), 0.1 * torch.randn(2, 37, 3, 4, generator=draw)
    wide = torch.nn.functional.interpolate(cosines, size=(24, 32), mode='bilinear', align_corners=False)
    wide = wide if refine is None else pamr(image, wide, **refine)
    best, labels = (wide * 10).softmax(dim=1).max(dim=1)
    labels[best < least] = 0
    wanted = [
        [[labels[n, y : y + 8, x : x + 8].flatten().bincount().argmax() for x in range(0, 32, 8)] for y in (0, 8, 16)]
        for n in (0, 1)
    ]
    found = patch_labels(image, cosines, (8, 8), 10.0, least, refine)
    assert torch.equal(found, torch.tensor(wanted))
    assert (found.unique().numel() > 1) == (least < 1)


def test_weights_add_up():
    weights, prior = torch.rand(1, 2, 5, 5).softmax(-1), torch.rand(1, 5, 5)
    guide = residual_guide(weights, prior, cross=(2.0, 0.3), feedback=(2.2, 0.7))
    assert guide.gain + 2.0 * 0.3 == pytest.approx(2.0) and guide.scale == pytest.approx(2.2 * 0.3)
    assert guide.bias.amax().item() == pytest.approx(2.2 * 0.7)
    assert torch.allclose(guide.mix.sum(-1), torch.full((1, 2, 5), 0.6))


@torch.no_grad()
@pytest.mark.parametrize('sign', ['density', 'attention', 'norm'])
def test_both_readings_may_be_of_repaired_tokens(sign):
    plain, repaired = (
        tiny_open_vocab('resclip', read_out=r) for r in ({}, dict(repair=dict(sign=sign, share=0.3, factor=9.0)))
    )
    assert not torch.allclose(repaired.dense_features(images()), plain.dense_features(images()), atol=1e-4)


def test_a_least_score_is_a_share():
    with pytest.raises(ValueError, match='least_score=1.5'):
        tiny_open_vocab('resclip', least_score=1.5)


def test_it_needs_middle_blocks():
    with pytest.raises(ValueError, match='weights_from'):
        tiny_open_vocab('resclip', read_out=dict(weights_from=()))


@pytest.mark.parametrize(('size', 'std'), [((4, 5), 5.0), ((5, 7), 1.5), ((9, 6), 3.5), ((1, 3), 2.0), ((1, 1), 5.0)])
def test_prior_is_the_authors_for_any_grid(size, std):
    """``generate_attention_sfr`` and ``check_path`` of the authors' code, written out patch by patch."""
    height, width = size
    labels = torch.randint(2, size, generator=torch.Generator().manual_seed(1))
    cells = [(r, c) for r in range(height) for c in range(width)]
    farthest = max(height, width) - 1
    weights = torch.zeros(len(cells), len(cells))
    for i, here in enumerate(cells):
        for j, there in enumerate(cells):
            distance = max(abs(here[0] - there[0]), abs(here[1] - there[1]))
            shares = torch.linspace(0, 1, farthest + 1)[: distance + 1]
            ways = list(zip(here, there, strict=True))
            walk = [tuple(int(torch.round(a * (1 - t) + b * t)) for a, b in ways) for t in shares]
            straight = all(labels[step] == labels[here] for step in walk)
            same = float(labels[here] == labels[there])
            weights[i, j] = same if straight else same * math.exp(-distance / farthest)
    kernel_size = min(len(cells), int(6 * std + 1))
    half = (kernel_size + (kernel_size % 2 == 0)) // 2
    blurred = torch.zeros_like(weights)
    for shift in range(-half, half + 1):
        moved = torch.zeros_like(weights)
        to, of = max(0, -shift), max(0, shift)
        count = len(cells) - abs(shift)
        if count > 0:
            moved[:, to : to + count] = weights[:, of : of + count]
        blurred += math.exp(-(shift**2) / (2 * std**2)) * moved
    wanted = blurred / blurred.sum(dim=1, keepdim=True)
    assert torch.allclose(semantic_prior(labels[None], std)[0, 1:, 1:], wanted, atol=1e-6)
