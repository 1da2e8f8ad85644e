"""Losses at the size of the labels are MMSeg's."""

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import accuracy
from mmseg.structures import SegDataSample

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
