"""CLIP-DINOiser's two losses."""

import pytest
import torch

from denseclip.models.functional.dinoiser_losses import correlation_loss, foreground_loss


@pytest.mark.parametrize(('teacher', 'cosine', 'least'), [(0.9, 1.0, 0.3133), (0.1, 0.0, 0.6931), (0.1, -1.0, 0.6931)])
def test_correlation_loss_has_the_known_floor(teacher, cosine, least):
    shape = (1, 4, 2, 2)
    loss = correlation_loss(torch.full(shape, cosine), torch.full(shape, teacher), gamma=0.2)
    assert loss.item() == pytest.approx(least, abs=1e-4)


def test_clamped_cosines_get_no_gradient():
    cosine = torch.tensor([-0.5, 0.5]).view(1, 2, 1, 1).requires_grad_()
    correlation_loss(cosine, torch.ones(1, 2, 1, 1), gamma=0.2).backward()
    assert cosine.grad is not None and cosine.grad[0, 0] == 0 and cosine.grad[0, 1] != 0


def test_teacher_thresholds_are_as_documented():
    logits = torch.full((1, 1, 1, 1), 3.0)
    assert foreground_loss(logits, torch.full_like(logits, 0.51)) < 0.1
    assert foreground_loss(logits, torch.full_like(logits, 0.5)) > 2
    at_gamma = torch.full((1, 1, 1, 1), 0.2)
    assert correlation_loss(torch.ones(1, 1, 1, 1), at_gamma, gamma=0.2) < 0.4
