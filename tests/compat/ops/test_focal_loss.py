"""Focal losses against autograd through the paper's equation 5."""

import pytest
import torch
import torch.nn.functional as F
from mmcv.ops import sigmoid_focal_loss, softmax_focal_loss


def _case(rows=9, classes=4, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.randn(rows, classes, generator=generator, dtype=torch.float64) * 3).to(dtype)
    return logits, torch.randint(0, classes + 1, (rows,), generator=generator)


def _sigmoid_reference(logits, target, gamma, alpha, weight=None):
    positive = F.one_hot(target, logits.shape[1] + 1)[:, :-1].bool()
    right = torch.where(positive, logits.sigmoid(), 1 - logits.sigmoid())
    balance = torch.where(positive, alpha, 1 - alpha)
    loss = -balance * (1 - right) ** gamma * right.log()
    return loss if weight is None else loss * weight[target.clamp(max=len(weight) - 1)][:, None]


def _softmax_reference(logits, target, gamma, alpha, weight=None):
    right = logits.softmax(1).gather(1, target[:, None]).squeeze(1)
    loss = -alpha * (1 - right) ** gamma * right.log()
    return loss if weight is None else loss * weight[target]


@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
@pytest.mark.parametrize('weighted', [False, True])
def test_sigmoid_equals_autograd(gamma, weighted, reduction):
    logits, target = _case()
    logits.requires_grad_()
    weight = torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64) if weighted else None
    expected = _sigmoid_reference(logits, target, gamma, 0.25, weight)
    expected = {'none': expected, 'sum': expected.sum(), 'mean': expected.sum() / len(logits)}[reduction]
    actual = sigmoid_focal_loss(logits, target, gamma, 0.25, weight, reduction)
    assert torch.allclose(actual, expected, atol=1e-12)
    grads = [torch.autograd.grad(loss.sum(), logits)[0] for loss in (actual, expected)]
    assert torch.allclose(*grads, atol=1e-12)


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
@pytest.mark.parametrize('weighted', [False, True])
def test_softmax_equals_autograd(gamma, weighted):
    logits, target = _case(seed=1)
    target = target.clamp(max=3)
    logits.requires_grad_()
    weight = torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64) if weighted else None
    expected = _softmax_reference(logits, target, gamma, 0.25, weight).sum()
    actual = softmax_focal_loss(logits, target, gamma, 0.25, weight, 'sum')
    assert torch.allclose(actual, expected, atol=1e-12)
    grads = [torch.autograd.grad(loss, logits)[0] for loss in (actual, expected)]
    assert torch.allclose(*grads, atol=1e-12)


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_certain_predictions_stay_finite(gamma):
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    for loss in (sigmoid_focal_loss, softmax_focal_loss):
        value = loss(logits, torch.tensor([0, 0]), gamma, 0.25, None, 'sum')
        (grad,) = torch.autograd.grad(value, logits)
        assert torch.isfinite(value)
        assert torch.isfinite(grad).all()


def test_ignored_rows_have_no_softmax_loss():
    logits, _ = _case(2, dtype=torch.float32)
    logits.requires_grad_()
    losses = softmax_focal_loss(logits, torch.tensor([-1, 2]), 2.0, 0.25, torch.ones(4), 'none')
    assert losses[0] == 0
    assert losses[1] > 0
    total = softmax_focal_loss(logits, torch.tensor([-1, 2]), 2.0, 0.25, torch.ones(4), 'sum')
    (grad,) = torch.autograd.grad(total, logits)
    assert grad[0].count_nonzero() == 0
    assert grad[1].count_nonzero() == 4


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_low_precision_is_the_rounded_exact_value(dtype):
    logits, target = _case(dtype=dtype)
    exact = sigmoid_focal_loss(logits.float(), target, 2.0, 0.25, None, 'none')
    assert torch.equal(sigmoid_focal_loss(logits, target, 2.0, 0.25, None, 'none'), exact.to(dtype))


def test_no_rows():
    for loss in (sigmoid_focal_loss, softmax_focal_loss):
        logits = torch.zeros(0, 3, requires_grad=True)
        loss(logits, torch.zeros(0, dtype=torch.long), 2.0, 0.25, None, 'sum').backward()
        assert logits.grad.shape == (0, 3)
