"""Losses at the size of the labels are MMSeg's."""

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import accuracy
from mmseg.structures import SegDataSample
from torch.utils._python_dispatch import TorchDispatchMode

from denseclip.models.functional import enlarged_cross_entropy
from denseclip.models.heads.identity_head import IdentityHead
from denseclip.models.heads.label_size_loss import pixel_accuracy


def samples(labels):
    return [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]


@pytest.mark.parametrize(
    'losses',
    [
        dict(type='CrossEntropyLoss'),
        [dict(type='CrossEntropyLoss', loss_weight=0.4), dict(type='CrossEntropyLoss', loss_weight=2.0)],
        [dict(type='CrossEntropyLoss'), dict(type='DiceLoss', loss_name='loss_dice')],
    ],
)
def test_equal_to_the_loss_of_mmseg(losses):
    head = IdentityHead(loss_decode=losses)
    labels = torch.randint(0, 5, (2, 24, 30))
    labels[0, :4] = 255
    logits = torch.randn(2, 5, 6, 8, requires_grad=True)
    ours, theirs = (
        head.loss_by_feat(logits, samples(labels)),
        BaseDecodeHead.loss_by_feat(head, logits, samples(labels)),
    )
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, atol=1e-4, rtol=1e-5)
    mine, other = (
        torch.autograd.grad(sum(v for k, v in found.items() if 'loss' in k), logits, retain_graph=True)[0]
        for found in (ours, theirs)
    )
    torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-4)


def test_accuracy_is_that_of_mmseg_and_zero_without_labels():
    logits, labels = torch.randn(2, 5, 9, 7), torch.randint(0, 5, (2, 9, 7))
    labels[1] = 255
    torch.testing.assert_close(pixel_accuracy(logits, labels, 255), accuracy(logits, labels, ignore_index=255))
    assert pixel_accuracy(logits, torch.full_like(labels, 255), 255).tolist() == [0.0]


BALANCED = dict(type='ClassBalancedCrossEntropyLoss', class_weight=[1.0, 0.3, 2.0, 0.7, 1.4])


@pytest.mark.parametrize('options', [{}, dict(avg_non_ignore=True, loss_weight=0.4), dict(loss_weight=0.4, **BALANCED)])
@pytest.mark.parametrize('size', [(24, 30), (37, 53), (5, 4)])
def test_rows_of_the_logits_give_the_loss_of_the_whole(options, size, monkeypatch):
    monkeypatch.setattr(enlarged_cross_entropy, '_NUMBERS', 7 * 5 * size[1])  # seven rows at a time
    head = IdentityHead(loss_decode={'type': 'CrossEntropyLoss', **options})
    labels = torch.randint(0, 5, (2, *size))
    labels[0, :4], labels[1, -1] = 255, 255
    logits = (6 * torch.randn(2, 5, 6, 8)).requires_grad_()
    ours = head.loss_by_feat(logits, samples(labels))
    theirs = BaseDecodeHead.loss_by_feat(head, logits, samples(labels))
    torch.testing.assert_close(ours['acc_seg'], theirs['acc_seg'])
    torch.testing.assert_close(ours['loss_ce'], theirs['loss_ce'], atol=0, rtol=1e-6)
    mine, other = (torch.autograd.grad(found['loss_ce'], logits)[0] for found in (ours, theirs))
    assert float((mine - other).abs().max()) <= 1e-6 * float(other.abs().max())


def test_fewer_bits_of_the_logits_are_enlarged_in_float32():
    head = IdentityHead(loss_decode=dict(type='CrossEntropyLoss'))
    labels = torch.randint(0, 5, (2, 24, 30))
    logits = (6 * torch.randn(2, 5, 6, 8)).bfloat16().requires_grad_()
    exact = logits.detach().float().requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        ours = head.loss_by_feat(logits, samples(labels))['loss_ce']
    right = head.loss_by_feat(exact, samples(labels))['loss_ce']
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, right, rtol=0, atol=0)
    mine, other = torch.autograd.grad(ours, logits)[0], torch.autograd.grad(right, exact)[0]
    torch.testing.assert_close(mine, other.bfloat16(), rtol=0, atol=0)


def test_losses_without_numbers_are_made_too():
    head = IdentityHead(loss_decode=dict(type='CrossEntropyLoss'))
    labels = torch.zeros(2, 24, 30, dtype=torch.long, device='meta')
    logits = torch.zeros(2, 5, 6, 8, device='meta', requires_grad=True)
    loss = head.loss_by_feat(logits, samples(labels))['loss_ce']
    assert torch.autograd.grad(loss, logits)[0].is_meta


class LargestTensor(TorchDispatchMode):
    """Notes how many numbers the largest tensor has."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for tensor in found if isinstance(found, tuple | list) else [found]:
            self.numel = max(self.numel, tensor.numel() if isinstance(tensor, torch.Tensor) else 0)
        return found


def test_no_tensor_has_all_classes_at_the_size_of_the_labels(monkeypatch):
    monkeypatch.setattr(enlarged_cross_entropy, '_NUMBERS', 2000)
    head, labels = IdentityHead(loss_decode=dict(type='CrossEntropyLoss')), torch.randint(0, 50, (1, 64, 64))
    logits = torch.randn(1, 50, 8, 8, requires_grad=True)
    with LargestTensor() as largest:
        head.loss_by_feat(logits, samples(labels))['loss_ce'].backward()
    assert largest.numel <= 50 * 64 * 8


@pytest.mark.parametrize('loss', [dict(type='CrossEntropyLoss', avg_non_ignore=True), BALANCED])
def test_nothing_labelled_has_no_loss_and_a_wrong_label_is_named(loss):
    head = IdentityHead(loss_decode=loss)
    logits = torch.randn(1, 5, 4, 4, requires_grad=True)
    found = head.loss_by_feat(logits, samples(torch.full((1, 8, 8), 255)))
    assert found['loss_ce'].item() == found['acc_seg'].item() == 0
    with pytest.raises(ValueError, match='class 7, but there are 5 classes'):
        head.loss_by_feat(logits, samples(torch.full((1, 8, 8), 7)))


def test_weights_for_other_classes_are_named():
    logits = torch.randn(1, 4, 4, 4, requires_grad=True)
    with pytest.raises(ValueError, match='class_weight has 5 entries, the logits have 4 classes'):
        IdentityHead(loss_decode=BALANCED).loss_by_feat(logits, samples(torch.zeros(1, 8, 8, dtype=torch.long)))
