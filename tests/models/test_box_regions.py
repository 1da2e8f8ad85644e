"""Boxes painted at once equal boxes painted one by one; the loss inside them stays finite whatever the boxes are."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.models.functional.box_regions import box_pixel_text_loss, paint_boxes
from denseclip.models.losses import BoxPixelTextLoss

SHAPE = (2, 3, 6, 8)
coordinate = st.integers(-20, 60).map(lambda n: n / 1.5)
box = st.tuples(coordinate, coordinate, coordinate, coordinate, st.integers(0, 2), st.integers(0, 1))


def one_by_one(boxes):
    """The authors' rule, box after box."""
    batch, classes, height, width = SHAPE
    target = torch.zeros(SHAPE, dtype=torch.bool)
    for x1, y1, x2, y2, label, image in boxes:
        left, right = (min(max(int(x / 4), 0), width - 1) for x in (x1, x2))
        top, bottom = (min(max(int(y / 4), 0), height - 1) for y in (y1, y2))
        target[image, label, top:bottom, left:right] = True
    return target


def painted(boxes):
    table = torch.tensor(boxes, dtype=torch.float64).reshape(-1, 6)
    return paint_boxes(table[:, :4], table[:, 4].long(), table[:, 5].long(), SHAPE)


@settings(max_examples=25, deadline=None)
@given(st.lists(box, max_size=12))
def test_all_at_once_equals_one_by_one(boxes):
    assert torch.equal(painted(boxes), one_by_one(boxes))


def test_a_thousand_boxes_of_one_picture():
    corners = torch.rand(1000, 2) * torch.tensor([20.0, 12.0])
    sides = torch.rand(1000, 2) * 12
    boxes = torch.cat([corners, corners + sides, torch.randint(0, 3, (1000, 1)), torch.zeros(1000, 1)], dim=1).tolist()
    boxes = [(*b[:4], int(b[4]), int(b[5])) for b in boxes]
    assert torch.equal(painted(boxes), one_by_one(boxes))


@pytest.mark.parametrize('boxes', [[], [(8, 8, 8, 20, 0, 0)], [(20, 16, 4, 4, 1, 1)], [(1, 1, 3, 3, 0, 0)]])
def test_nothing_painted_gives_zero_and_zero_gradients(boxes):
    target = painted(boxes)
    assert not target.any()
    logits = torch.randn(SHAPE, requires_grad=True)
    loss = box_pixel_text_loss(logits, target)
    loss.backward()
    assert loss == 0 and torch.equal(logits.grad, torch.zeros(SHAPE))


def test_cells_outside_all_boxes_have_no_weight():
    target = painted([(0, 0, 8, 8, 1, 0)])
    logits = torch.zeros(SHAPE)
    logits[~target.any(1, keepdim=True).expand(SHAPE)] = float('inf')
    logits.requires_grad_()
    loss = box_pixel_text_loss(logits, target)
    loss.backward()
    torch.testing.assert_close(loss, torch.tensor(2.0).log())
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad != 0).sum() == 3 * 4  # every class of the four cells, positive or negative


def test_half_precision_scores_are_summed_in_float32():
    target = painted([(0, 0, 30, 22, 1, 0)])
    logits = torch.randn(SHAPE)
    loss = box_pixel_text_loss(logits.bfloat16(), target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, box_pixel_text_loss(logits.bfloat16().float(), target))


def test_the_module_weighs_and_resizes():
    boxes, labels = (
        [torch.tensor([[0.0, 0.0, 24.0, 16.0]]), torch.zeros(0, 4)],
        [torch.tensor([2]), torch.zeros(0).long()],
    )
    logits = torch.randn(2, 3, 3, 4)
    losses = [BoxPixelTextLoss(loss_weight=w)(logits, boxes, labels, (24, 32)) for w in (1.0, 0.5)]
    torch.testing.assert_close(losses[0], losses[1] * 2)
    assert BoxPixelTextLoss().target(boxes, labels, 3, (24, 32)).shape == (2, 3, 6, 8)
