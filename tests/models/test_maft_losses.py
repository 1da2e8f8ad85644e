"""The losses that MAFT+ adds: exact values, degenerate inputs, and memory."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from denseclip.models.functional.maft_losses import (
    compensation_loss,
    mask_aware_loss,
    mask_quality,
    pyramid_sums,
    soft_mask_iou,
)


def plain_iou(mask_logits: Tensor, targets: Tensor) -> Tensor:
    """Every pair at full size, as the formula says."""
    masks = F.interpolate(mask_logits.sigmoid(), size=targets.shape[-2:], mode='bilinear', align_corners=False)
    masks, targets = masks[:, None], targets.float()[:, :, None]
    both = (masks * targets).sum((-2, -1))
    return both / (masks.sum((-2, -1)) + targets.sum((-2, -1)) - both + 1e-7)


sides = st.integers(1, 9)


@settings(max_examples=30, deadline=None)
@given(st.tuples(sides, sides, st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**20)))
def test_iou_is_that_of_masks_at_full_size(drawn: tuple[int, int, int, int, int]) -> None:
    height, width, out_height, out_width, seed = drawn
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, height, width, generator=generator) * 3
    targets = torch.rand(2, 4, out_height, out_width, generator=generator) < 0.4
    torch.testing.assert_close(soft_mask_iou(logits, targets), plain_iou(logits, targets), atol=1e-5, rtol=1e-5)


def test_pictures_with_different_numbers_of_segments_are_averaged_over_all_pairs() -> None:
    torch.manual_seed(0)
    logits, masks = torch.randn(3, 5, 4), torch.randn(3, 5, 6, 8)
    labels = [torch.tensor([1, 0, 3]), torch.zeros(0, dtype=torch.long), torch.tensor([2])]
    segments = [torch.rand(len(label), 12, 16) < 0.5 for label in labels]
    parts = []
    for n, (label, segment) in enumerate(zip(labels, segments, strict=True)):
        wanted = mask_quality(plain_iou(masks[n : n + 1], segment[None])[0])
        parts.append(F.smooth_l1_loss(logits[n].softmax(-1)[:, label].T, wanted, reduction='none'))
    expected = torch.cat(parts).mean()
    torch.testing.assert_close(mask_aware_loss(logits, masks, labels, segments), expected, atol=1e-6, rtol=1e-5)


def test_no_gradient_reaches_the_masks() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 4, 3, requires_grad=True)
    masks = torch.randn(1, 4, 8, 8, requires_grad=True)
    mask_aware_loss(logits, masks, [torch.tensor([1])], [torch.rand(1, 16, 16) < 0.5]).backward()
    assert masks.grad is None and logits.grad is not None and logits.grad.abs().sum() > 0


def test_a_batch_without_segments_gives_a_zero_that_has_a_gradient() -> None:
    logits = torch.randn(2, 4, 3, requires_grad=True)
    nothing = [torch.zeros(0, dtype=torch.long)] * 2
    loss = mask_aware_loss(logits, torch.randn(2, 4, 8, 8), nothing, [torch.zeros(0, 16, 16, dtype=torch.bool)] * 2)
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and not logits.grad.any()


def test_empty_segments_and_equal_masks_give_no_undefined_numbers() -> None:
    logits = torch.zeros(1, 4, 1, requires_grad=True)  # a single class, too
    masks = torch.full((1, 4, 8, 8), -100.0)
    loss = mask_aware_loss(logits, masks, [torch.tensor([0])], [torch.zeros(1, 16, 16, dtype=torch.bool)])
    loss.backward()
    assert torch.isfinite(loss) and logits.grad is not None and torch.isfinite(logits.grad).all()


def test_autocast_does_not_change_the_masks_sums() -> None:
    torch.manual_seed(0)
    logits, masks, segment = torch.randn(1, 4, 3), torch.randn(1, 4, 64, 64), torch.rand(1, 256, 256) < 0.5
    expected = mask_aware_loss(logits, masks, [torch.tensor([1])], [segment])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = mask_aware_loss(logits, masks, [torch.tensor([1])], [segment])
    torch.testing.assert_close(found, expected)


def test_compensation_is_zero_for_equal_maps_and_ignores_what_is_below_zero() -> None:
    features = torch.randn(2, 5, 8, 12)
    assert compensation_loss(features, features).item() == 0
    negative = -torch.rand(1, 5, 8, 8)
    assert compensation_loss(negative, torch.zeros_like(negative)).item() == 0


@pytest.mark.parametrize('size', [(2, 2), (1, 3), (3, 1), (7, 5), (5, 7)])
def test_compensation_works_for_any_size(size: tuple[int, int]) -> None:
    student = torch.rand(1, 3, *size, requires_grad=True)
    loss = compensation_loss(student, torch.rand(1, 3, *size))
    loss.backward()
    assert torch.isfinite(loss) and student.grad is not None and student.grad.abs().sum() > 0


def test_sums_are_those_of_the_windows() -> None:
    sums = pyramid_sums(torch.ones(1, 2, 8, 8), scales=(1, 2))
    assert sums.tolist() == [[1.0] * 4 + [2.0] * 8]
