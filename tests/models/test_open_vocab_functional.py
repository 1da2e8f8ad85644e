"""Scores of class names, thresholds, regions, refinement and affinities as pure functions."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.models.functional.affinity import (
    chebyshev_distance,
    semantic_prior,
    similarity_logits,
    visible_patches,
)
from denseclip.models.functional.open_vocab import (
    cosine_scores,
    key_smoothing,
    merge_names,
    prompt_denoising,
    region_labels,
    thresholded_labels,
)
from denseclip.models.functional.pamr import neighbours, pamr, pamr_weights


def seeded(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_cosines_do_not_depend_on_length():
    dense, text = seeded(2, 4, 3, 5), F.normalize(seeded(6, 4, seed=1), dim=-1)
    scores = cosine_scores(dense, text)
    assert torch.allclose(scores, cosine_scores(7 * dense, text), atol=1e-6) and scores.abs().max() <= 1 + 1e-6
    assert torch.equal(cosine_scores(torch.zeros(1, 4, 1, 1), text), torch.zeros(1, 6, 1, 1))


def test_cosines_are_told_apart_in_float32_under_autocast():
    dense, text = (
        seeded(1, 64, 3, 3),
        torch.nn.functional.normalize(seeded(1, 64) + 0.001 * seeded(5, 64, seed=2), dim=1),
    )
    plain = cosine_scores(dense, text)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = cosine_scores(dense, text)
    assert torch.equal(found, plain) and (plain.bfloat16().argmax(1) != plain.argmax(1)).any()
    half = cosine_scores(dense.bfloat16(), text.bfloat16())
    assert half.dtype == torch.float32 and cosine_scores(dense.double(), text).dtype == torch.float64


def test_denoising_is_of_each_picture_alone():
    cosines = torch.zeros(2, 3, 1, 2)
    cosines[0, 0], cosines[1, 1, 0, 0], cosines[1, 2, 0, 1] = 1.0, 1.0, 1.0
    kept = prompt_denoising(cosines, 0.5) > -100
    assert kept[:, :, 0, 0].tolist() == [[True, False, False], [False, True, True]]


def test_smoothing_leaves_sure_pixels_and_stays_a_mean():
    probabilities = seeded(2, 4, 3, 3).softmax(dim=1)
    keys = torch.ones(2, 9, 5)
    smooth = key_smoothing(probabilities, keys, 1.0)
    mean = probabilities.mean(dim=(2, 3), keepdim=True)
    assert torch.allclose(smooth, mean.expand_as(smooth), atol=1e-5)
    assert torch.equal(key_smoothing(probabilities, keys, 0.0), probabilities)
    assert not torch.allclose(key_smoothing(probabilities, keys, 1.0, as_released=True), smooth)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(0, 5))
def test_best_name_of_each_class(seed, classes, more):
    generator = torch.Generator().manual_seed(seed)
    index = torch.cat([torch.arange(classes), torch.randint(classes, (more,), generator=generator)])
    scores = torch.randn(classes + more, 2, 3, generator=generator)
    merged = merge_names(scores, index, classes)
    assert all(torch.equal(merged[k], scores[index == k].amax(dim=0)) for k in range(classes))


def test_small_classes_and_unsure_pixels_become_background():
    scores = torch.full((3, 10, 10), 0.1)
    scores[1, :, :9], scores[2, :, 9] = 0.6, 0.5
    scores[1, 0, 0] = 0.2
    labels, kept = thresholded_labels(scores, 0, 0.3, 0.2)
    assert (labels[:, :9].flatten()[1:] == 1).all() and labels[0, 0] == 0  # unsure
    assert (labels[:, 9] == 0).all() and not kept[2].any()  # 10 of 100 pixels
    untouched, same = thresholded_labels(scores, None)
    assert torch.equal(untouched, scores.argmax(dim=0)) and same is scores


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_regions_take_their_most_frequent_label(seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (6, 7), generator=generator)
    regions = torch.randint(-1, 3, (6, 7), generator=generator)
    found = region_labels(labels, regions, 4)
    assert torch.equal(found[regions < 0], labels[regions < 0])
    for number in range(3):
        inside = labels[regions == number]
        if inside.numel():
            assert (found[regions == number] == inside.bincount(minlength=4).argmax()).all()


def test_neighbours_repeat_the_border():
    x = seeded(1, 2, 3, 4)
    near = neighbours(x, 2, [(0, 0), (-1, 0), (1, 1)])
    assert torch.equal(near[:, :, 0], x)
    assert torch.equal(near[:, :, 1], x[:, :, [0, 0, 0]])
    assert torch.equal(near[:, :, 2], x[:, :, [2, 2, 2]][..., [2, 3, 3, 3]])


def test_refinement_follows_edges_and_keeps_constants():
    image = torch.zeros(1, 3, 8, 16)
    image[..., 8:] = 1.0
    image += 0.01 * seeded(1, 3, 8, 16)
    scores = torch.zeros(1, 20, 8, 16)
    scores[:, 0, :, :6], scores[:, 1, :, 6:] = 1.0, 1.0  # two columns off
    refined = pamr(image, scores, 10, (1, 2))
    assert (refined[0, 0] > refined[0, 1])[:, :8].float().mean() > 0.9
    assert (refined[0, 1] > refined[0, 0])[:, 8:].all()
    assert torch.allclose(pamr(image, torch.ones(1, 2, 4, 8), 3), torch.ones(1, 2, 8, 16), atol=1e-5)
    assert torch.allclose(pamr_weights(image).sum(dim=1), torch.ones(1, 8, 16), atol=1e-5)
    assert pamr(torch.rand(1, 3, 1, 1), torch.rand(1, 2, 1, 1)).shape == (1, 2, 1, 1)


def test_tokens_that_are_all_alike_see_themselves():
    logits = similarity_logits(torch.ones(2, 5, 2, 3))
    assert torch.equal(logits.softmax(dim=-1), torch.eye(6).expand(2, -1, -1))
    both = similarity_logits(seeded(2, 5, 2, 3))
    assert torch.allclose(both[1:], similarity_logits(seeded(2, 5, 2, 3)[1:]), atol=1e-6)


def test_sight_is_blocked_by_other_labels():
    labels = torch.tensor([[[1, 0, 1], [1, 1, 1]]])
    seen = visible_patches(labels)[0]
    assert not seen[0, 2] and seen[3, 5] and seen[0, 3] and not seen[0, 1]
    assert torch.equal(chebyshev_distance(2, 3, labels.device)[0], torch.tensor([0, 1, 2, 1, 1, 2]))


@pytest.mark.parametrize('size', [(1, 1), (1, 6), (5, 4)])
def test_prior_rows_sum_up_to_one(size):
    labels = torch.randint(3, (2, *size), generator=torch.Generator().manual_seed(0))
    prior = semantic_prior(labels)
    assert prior.shape == (2, 1 + size[0] * size[1], 1 + size[0] * size[1])
    assert torch.allclose(prior[:, 1:].sum(dim=-1), torch.ones(2, size[0] * size[1]), atol=1e-5)
    assert not prior[:, 0].any() and not prior[:, :, 0].any()
    assert torch.equal(prior[1:], semantic_prior(labels[1:]))
