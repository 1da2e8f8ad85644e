"""Mask-Adapter: its maps, the masks it learns from, what it trains, devices."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from device_safety import fake_cuda, meta_device, move_to_fake_cuda, total_loss
from mmengine.structures import InstanceData
from tiny_fcclip import CLASSES, semantic_samples, stripes, tiny_fcclip

from denseclip.models.functional.mask_adapter import (
    NO_LABEL,
    binary_iou,
    consistency_loss,
    draw_masks,
    labelled_cross_entropy,
    match_by_iou,
)
from denseclip.models.functional.mask_pooling import activation_pool
from denseclip.models.heads import MaskAdapter

SIZES = dict(channels=8, mask_channels=8, num_maps=2)


def adapted(kind: str = 'FCCLIP', trunk: str = 'convnext', **settings: Any) -> Any:
    if kind == 'MAFTPlus':
        settings = dict(transfer=dict(num_heads=4), ensemble=True, **settings)
    return tiny_fcclip(kind, trunk, adapter=SIZES, **settings)


def awake(adapter: MaskAdapter) -> MaskAdapter:
    """Blocks that do something: fresh ones add a millionth."""
    for block in adapter.blocks:
        torch.nn.init.normal_(block.gamma)
    return adapter


def test_maps_of_a_mask_do_not_depend_on_the_others_or_on_chunks() -> None:
    torch.manual_seed(0)
    adapter = awake(MaskAdapter(6, **SIZES)).eval()
    pixels, masks = torch.randn(2, 6, 3, 5), (torch.rand(2, 4, 24, 40) > 0.5).float()
    with torch.no_grad():
        maps = adapter(pixels, masks)
        assert maps.shape == (2, 4, 2, 3, 5) and maps.std() > 0
        torch.testing.assert_close(adapter(pixels, masks[:, [2]]), maps[:, [2]])
        adapter.budget = 1
        torch.testing.assert_close(adapter(pixels, masks), maps)
        assert adapter(pixels, masks[:, :0]).shape == (2, 0, 2, 3, 5)
    assert not torch.allclose(maps[:, 0], maps[:, 1])
    assert adapter._chunk(pixels, 4) == 4  # with gradients all at once


@pytest.mark.parametrize(
    'wrong', [dict(mask_threshold=0.0), dict(mask_threshold=1.0), dict(mask_channels=10), dict(mask_channels=4)]
)
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MaskAdapter(6, **{**SIZES, **wrong})


def test_pooling_by_maps_is_a_weighted_mean() -> None:
    features = torch.randn(1, 3, 2, 2)
    one_pixel = torch.full((1, 1, 2, 2), -40.0)
    one_pixel[..., 1, 0] = 40
    torch.testing.assert_close(activation_pool(features, one_pixel)[0, 0], features[0, :, 1, 0])
    dark = torch.full((1, 1, 2, 2), -200.0)  # sigmoids that float32 does not hold
    torch.testing.assert_close(activation_pool(features, dark)[0, 0], features[0].mean((1, 2)))


def segments(count: int, size: tuple[int, int] = (16, 16)) -> InstanceData:
    """Vertical stripes, class i each."""
    place = torch.arange(size[1]) * max(1, count) // size[1]
    masks = place.expand(size) == torch.arange(count)[:, None, None]
    return InstanceData(labels=torch.arange(count), masks=masks)


def test_drawn_masks_are_the_true_ones_and_empty_ones_are_left_out() -> None:
    some = segments(3)
    some.masks[1] = False
    drawn = draw_masks([some, segments(8), segments(0)], 4)
    assert drawn.masks.shape == (3, 4, 16, 16) and drawn.labels.shape == (3, 4)
    assert sorted(drawn.labels[0].tolist()) == [NO_LABEL, NO_LABEL, 0, 2]
    assert (drawn.labels[1] >= 0).all() and len(set(drawn.labels[1].tolist())) == 4
    assert (drawn.labels[2] == NO_LABEL).all() and not drawn.masks[2].any()
    for target, masks, labels in zip([some, segments(8)], drawn.masks, drawn.labels, strict=False):
        for mask, label in zip(masks, labels, strict=True):
            assert torch.equal(mask, target.masks[label]) if label >= 0 else not mask.any()


def test_every_mask_is_drawn_as_often() -> None:
    torch.manual_seed(0)
    counts = torch.zeros(8)
    for _ in range(200):
        counts[draw_masks([segments(8)], 4).labels[0]] += 1
    assert counts.min() > 70 and counts.max() < 130


def test_pairs_overlap_and_belong_together() -> None:
    torch.manual_seed(0)
    true = segments(4)
    good = true.masks[[3, 1]].float() * 20 - 10
    bad = -good.flip(2)
    found = match_by_iou(torch.cat([bad, good])[None].expand(2, -1, -1, -1), [true, segments(0)], 3)
    assert sorted(found.labels[0].tolist()) == [NO_LABEL, 1, 3]
    for predicted, mask, label in zip(found.predicted[0], found.true[0], found.labels[0], strict=True):
        assert torch.equal(mask > 0.5, true.masks[label]) if label >= 0 else not mask.any()
        assert torch.equal(predicted > 0, mask > 0.5)
    assert (found.labels[1] == NO_LABEL).all()


def test_which_of_several_fitting_masks_is_drawn_changes() -> None:
    torch.manual_seed(0)
    true = segments(1)
    logits = torch.stack([torch.full((16, 16), value) for value in (3.0, 5.0, -5.0)])[None]
    drawn = [match_by_iou(logits, [true], 1).predicted.max().item() for _ in range(40)]
    assert set(drawn) == {3.0, 5.0} and 8 < drawn.count(3.0) < 32


def test_iou_of_masks() -> None:
    masks = torch.tensor([[[1, 1, 0, 0]], [[0, 1, 1, 1]], [[0, 0, 0, 0]]]).bool()
    torch.testing.assert_close(
        binary_iou(masks, masks), torch.tensor([[1, 0.25, 0], [0.25, 1, 0], [0, 0, 0]]), rtol=0, atol=1e-5
    )


def test_losses_count_labelled_places_alone() -> None:
    logits = torch.randn(2, 3, 5, requires_grad=True)
    labels = torch.tensor([[0, 4, NO_LABEL], [NO_LABEL] * 3])
    expected = torch.nn.functional.cross_entropy(logits[0, :2], labels[0, :2])
    torch.testing.assert_close(labelled_cross_entropy(logits, labels), expected)
    nothing = labelled_cross_entropy(logits, torch.full((2, 3), NO_LABEL))
    nothing.backward()
    assert nothing.item() == 0 and logits.grad is not None
    same = torch.randn(1, 2, 4)
    assert abs(consistency_loss(same, 3 * same).item()) < 1e-6
    assert abs(consistency_loss(same, -same).item() - 2) < 1e-6


@pytest.mark.parametrize('phase', ['ground_truth', 'mixed'])
@pytest.mark.parametrize(('kind', 'trunk'), [('FCCLIP', 'convnext'), ('FCCLIP', 'vit'), ('MAFTPlus', 'convnext')])
def test_the_adapter_alone_learns(kind: str, trunk: str, phase: str) -> None:
    torch.manual_seed(0)
    model = adapted(kind, trunk, adapter_training=dict(phase=phase)).train()
    awake(model.adapter)
    labels = torch.arange(96).expand(2, 64, 96) * 3 // 96
    losses = model.loss(torch.randn(2, 3, 64, 96), semantic_samples(labels))
    assert set(losses) == ({'loss_ce'} if phase == 'ground_truth' else {'loss_ce', 'loss_consistency'})
    total_loss(losses).backward()
    learning = {n for n, p in model.named_parameters() if p.requires_grad}
    assert learning == {n for n, p in model.named_parameters() if p.grad is not None and torch.isfinite(p.grad).all()}
    assert learning == {n for n in model.state_dict() if n.startswith('adapter.')}
    assert not model.head.training and not model.backbone.tower.training
    assert getattr(model, 'teacher', None) is None


def test_void_learns_where_it_is_asked_to() -> None:
    for kind in ('FCCLIP', 'MAFTPlus'):
        model = adapted(kind, adapter_training=dict(train_void=True)).train()
        total_loss(model.loss(torch.randn(1, 3, 64, 64), stripes(1))).backward()
        assert model.void_embedding.weight.grad.abs().sum() > 0


def test_a_batch_without_any_segment_trains_the_adapter_to_nothing() -> None:
    model = adapted().train()
    losses = model.loss(torch.randn(2, 3, 64, 64), semantic_samples(torch.full((2, 64, 64), 255)))
    total_loss(losses).backward()
    assert losses['loss_ce'].item() == 0 and abs(losses['loss_consistency'].item()) < 1e-5


def test_an_adapter_learns_the_classes_of_masks() -> None:
    torch.manual_seed(0)
    model = adapted(adapter_training=dict(phase='ground_truth', train_void=True)).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-2)
    images, samples = torch.randn(2, 3, 64, 64), stripes(2, segments=3)
    values = []
    for _ in range(20):
        loss = total_loss(model.loss(images, samples))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.7 * values[0], values


def test_what_is_said_of_a_mask_comes_from_the_adapter_and_no_mask_is_undefined() -> None:
    model = adapted()
    with torch.no_grad():
        features = model.extract_feat(torch.randn(1, 3, 64, 64))
        empty = model.clip_logits(features, torch.full((1, 2, 16, 16), -9.0))
        assert torch.isfinite(empty).all() and empty.shape == (1, 2, len(CLASSES) + 1)
        before = model.clip_logits(features, torch.randn(1, 2, 16, 16))
        model.adapter.to_maps.bias.fill_(3)
        assert not torch.equal(before, model.clip_logits(features, torch.randn(1, 2, 16, 16)))


@pytest.mark.parametrize(
    ('settings', 'said'),
    [
        (dict(trunk='resnet', adapter=SIZES), 'ResNet'),
        (dict(adapter_training=dict(phase='mixed')), 'give adapter'),
        (dict(adapter=SIZES, adapter_training=dict(phase='warm')), "phase='warm'"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        tiny_fcclip(**settings)


@pytest.mark.slow
@pytest.mark.parametrize(('kind', 'phase'), [('FCCLIP', 'mixed'), ('MAFTPlus', 'ground_truth')])
def test_devices(kind: str, phase: str) -> None:
    model = adapted(kind, adapter_training=dict(phase=phase)).train()
    with fake_cuda() as mode:
        move_to_fake_cuda(model, mode)
        assert total_loss(model.loss(torch.randn(2, 3, 64, 64), stripes(2))).device.type == 'cuda'
        model.eval()
        with torch.no_grad():
            found = model.predict(torch.randn(1, 3, 64, 64))[0]
        assert found.pred_sem_seg.data.device.type == 'cuda'
    model = adapted(kind, adapter_training=dict(phase=phase)).to('meta').train()
    with meta_device():
        total_loss(model.loss(torch.randn(2, 3, 64, 64), stripes(2))).backward()
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
