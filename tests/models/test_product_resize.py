"""Enlarging by matrix products is bilinear resizing, forward and backward."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmseg.models.utils import Upsample

from denseclip.core.placement import resize
from denseclip.models.functional import product_resize as module
from denseclip.models.functional.product_resize import ProductUpsample, add_enlarged, product_resize

side = st.integers(1, 12)


@settings(max_examples=25, deadline=None)
@given(st.tuples(side, side), st.tuples(side, side))
def test_equals_resizing_with_gradients(size, out):
    x = torch.randn(2, 3, *size, requires_grad=True)
    ours, theirs = product_resize(x, out), resize(x, out)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    probe = torch.randn_like(ours)
    mine, other = (torch.autograd.grad(y, x, probe)[0] for y in (ours, theirs))
    torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.tuples(side, side), st.tuples(side, side)), max_size=3), st.tuples(side, side))
def test_adding_in_two_steps_is_resizing_twice(steps, out):
    base = torch.randn(2, 3, *out, requires_grad=True)
    maps = [torch.randn(2, 3, *size, requires_grad=True) for size, _ in steps]
    ours = add_enlarged(base, [(planes, via) for planes, (_, via) in zip(maps, steps, strict=True)])
    theirs = base
    for planes, (_, via) in zip(maps, steps, strict=True):
        theirs = theirs + resize(resize(planes, via), out)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    probe = torch.randn_like(base)
    mine, other = (torch.autograd.grad(y, [base, *maps], probe) for y in (ours, theirs))
    for one, two in zip(mine, other, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)


def test_adding_without_gradients_is_resizing_to_the_bit():
    base, small = torch.randn(1, 2, 9, 8), torch.randn(1, 2, 3, 4)
    assert torch.equal(add_enlarged(base, [(small, (6, 8))]), base + resize(resize(small, (6, 8)), (9, 8)))


def test_without_gradients_it_is_resizing_to_the_bit():
    x = torch.randn(1, 2, 5, 6)
    assert torch.equal(product_resize(x, (11, 9)), resize(x, (11, 9)))
    half = torch.randn(1, 2, 5, 6).bfloat16().requires_grad_()
    assert product_resize(half, (11, 9)).dtype == torch.bfloat16


def test_upsampling_modules_of_the_plain_kind_are_taken():
    given_ = Upsample(scale_factor=2, mode='bilinear', align_corners=False)
    ours = ProductUpsample.like(given_)
    x = torch.randn(1, 2, 3, 4, requires_grad=True)
    assert isinstance(ours, ProductUpsample) and not ours.state_dict()
    torch.testing.assert_close(ours(x), given_(x), atol=1e-6, rtol=1e-6)
    other = Upsample(scale_factor=2, mode='nearest')
    assert ProductUpsample.like(other) is other


def test_matrices_are_made_once():
    x = torch.randn(1, 1, 4, 5, requires_grad=True)
    product_resize(x, (8, 10))
    before = module.resize_matrix.cache_info().misses
    product_resize(x, (8, 10))
    assert module.resize_matrix.cache_info().misses == before
