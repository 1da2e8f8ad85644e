"""FC-CLIP's ensemble of two classifiers, and MAFT+'s choice."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.models.functional.vocabulary_ensemble import geometric_ensemble, out_of_vocabulary, seen_classes

SEEN = torch.tensor([True, False, True])


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(1e-3, 1e4), st.integers(0, 2**20))
def test_probabilities_add_up_to_one_at_any_scale(alpha: float, beta: float, scale: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    inside, outside = torch.randn(2, 1, 5, 4, generator=generator) * scale
    for found in (geometric_ensemble(inside, outside, SEEN, alpha, beta), out_of_vocabulary(inside, outside)):
        total = found.class_probs.sum(-1) + found.no_object
        torch.testing.assert_close(total, torch.ones_like(total), atol=1e-4, rtol=1e-4)


def test_underflow_gives_zero_and_a_finite_gradient() -> None:
    inside = torch.tensor([[[1e4, -1e4, 0.0, 5.0]]], requires_grad=True)
    outside = torch.tensor([[[-1e4, 1e4, 0.0, 5.0]]], requires_grad=True)
    for found in (geometric_ensemble(inside, outside, SEEN, 0.0, 1.0), out_of_vocabulary(inside, outside)):
        assert torch.isfinite(found.class_probs).all() and torch.isfinite(found.no_object).all()
        (gradient,) = torch.autograd.grad(found.class_probs[..., 0].sum(), inside, retain_graph=True)
        assert torch.isfinite(gradient).all()


def test_extremes_are_the_single_classifiers() -> None:
    torch.manual_seed(0)
    inside, outside = torch.randn(2, 1, 5, 4)
    void = inside.softmax(-1)[..., -1]
    for share, logits in ((0.0, inside), (1.0, outside)):
        found = geometric_ensemble(inside, outside, SEEN, share, share)
        expected = logits[..., :-1].softmax(-1) * (1 - void[..., None])
        torch.testing.assert_close(found.class_probs, expected)
        torch.testing.assert_close(found.no_object, void)
    torch.testing.assert_close(
        out_of_vocabulary(inside, outside).class_probs, geometric_ensemble(inside, outside, SEEN, 1, 1).class_probs
    )


def test_masks_that_are_not_valid_take_the_trained_classifier() -> None:
    torch.manual_seed(0)
    inside, outside = torch.randn(2, 1, 3, 4)
    valid = torch.tensor([[True, False, True]])
    found = geometric_ensemble(inside, outside, SEEN, 0.4, 0.8, valid).class_probs
    torch.testing.assert_close(found[:, 1], geometric_ensemble(inside, outside, SEEN, 0, 0).class_probs[:, 1])
    torch.testing.assert_close(found[:, 0], geometric_ensemble(inside, outside, SEEN, 0.4, 0.8).class_probs[:, 0])


def test_a_class_is_seen_by_any_of_its_names_letter_by_letter() -> None:
    groups = [('dog', 'puppy'), ('sky', 'clouds'), ('Cat',), ('kitten', 'road sign')]
    assert seen_classes(groups, ['puppy', 'cat', 'road']).tolist() == [True, False, False, False]
    assert seen_classes(groups, ()).tolist() == [False] * 4
