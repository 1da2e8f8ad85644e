"""Properties of the class-balanced cross entropy."""

import pytest
import torch
import torch.nn.functional as F

from denseclip.models.losses import ClassBalancedCrossEntropyLoss


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, 7, generator=generator, requires_grad=True)
    label = torch.randint(0, 3, (2, 5, 7), generator=generator)
    label[:, 0] = 255
    return logits, label


def test_equals_torch_weighted_mean(batch):
    logits, label = batch
    loss = ClassBalancedCrossEntropyLoss([1.0, 2.0, 0.5], loss_weight=0.4)(logits, label)
    expected = 0.4 * F.cross_entropy(logits, label, weight=torch.tensor([1.0, 2.0, 0.5]), ignore_index=255)
    torch.testing.assert_close(loss, expected)


def test_pixel_weight_of_zero_equals_ignoring(batch):
    logits, label = batch
    loss = ClassBalancedCrossEntropyLoss([1.0, 2.0, 0.5])
    keep = torch.ones_like(label, dtype=torch.float32)
    keep[:, 2] = 0
    ignored = label.clone()
    ignored[:, 2] = 255
    torch.testing.assert_close(loss(logits, label, weight=keep), loss(logits, ignored))


def test_all_ignored_gives_zero_with_a_gradient(batch):
    logits, label = batch
    loss = ClassBalancedCrossEntropyLoss([1.0, 1.0, 1.0])(logits, torch.full_like(label, 255))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None and not logits.grad.any()


def test_wrong_number_of_classes_is_named(batch):
    with pytest.raises(ValueError, match='class_weight has 2 entries, the logits have 3 classes'):
        ClassBalancedCrossEntropyLoss([1.0, 1.0])(*batch)
    with pytest.raises(ValueError, match='positive'):
        ClassBalancedCrossEntropyLoss([1.0, 0.0])
