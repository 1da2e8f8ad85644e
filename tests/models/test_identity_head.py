"""The auxiliary pixel-text loss head. Its numbers are checked in tests/golden."""

import warnings

import pytest
import torch
from parity.samples import data_samples

from denseclip.models.heads import IdentityHead

LOSS = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4)


def test_has_no_parameters_and_takes_any_number_of_classes():
    head = IdentityHead(loss_decode=LOSS)
    assert not list(head.parameters())
    for classes in (2, 7, 30):
        losses = head.loss(torch.randn(1, classes, 4, 4), data_samples(torch.zeros(1, 1, 8, 8)), {})
        assert losses['loss_ce'] > 0


def test_old_config_arguments_change_nothing():
    with warnings.catch_warnings():
        warnings.filterwarnings('error', message='.*threshold.*')
        old = IdentityHead(in_channels=1, channels=1, num_classes=1, dropout_ratio=0.1, loss_decode=LOSS).train()
    logits = torch.randn(1, 5, 4, 4)
    assert torch.equal(old(logits), logits)


@pytest.mark.parametrize('weight', [0.4, 2.0])
def test_ignored_pixels_count_in_the_average(weight):
    head = IdentityHead(loss_decode={**LOSS, 'loss_weight': weight})
    logits, label = torch.zeros(1, 4, 8, 8), torch.zeros(1, 1, 8, 8)
    label[..., 4:] = 255
    loss = head.loss(logits, data_samples(label), {})['loss_ce']
    torch.testing.assert_close(loss, torch.tensor(weight * 0.5 * torch.log(torch.tensor(4.0)).item()))
