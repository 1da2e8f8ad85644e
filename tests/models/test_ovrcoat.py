"""OVRCOAT's settings: CLIP is asked before a mask is called void, and learns from the regions of masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from device_safety import fake_cuda, meta_device, move_to_fake_cuda, total_loss
from mmengine.optim import build_optim_wrapper
from tiny_fcclip import TRUNKS, first_queries_match, semantic_samples, stripes, tiny_fcclip

from denseclip.engine.checkpoints import load_weights, read_training_file
from denseclip.models.functional.vocabulary_ensemble import geometric_ensemble, out_of_vocabulary
from denseclip.models.heads.maskformer import OpenVocabMaskFormerHead
from denseclip.runtime.kinds import Masks
from denseclip.runtime.mask_results import class_probabilities
from denseclip.weights.convert import convert

RULE = dict(seen=('a',), valid=False, task='semantic', things=None, score_threshold=0.0, overlap_threshold=0.8, topk=5)


def refined(trunk: str = 'convnext', **settings: Any) -> Any:
    return tiny_fcclip(trunk=trunk, refinement=settings).train()


@pytest.mark.parametrize('combine', ['ensemble', 'clip'])
def test_void_is_lowered_by_what_clip_is_sure_of(combine: str) -> None:
    torch.manual_seed(0)
    inside, outside, seen = torch.randn(6, 4), 3 * torch.randn(6, 4), torch.tensor([True, False, False])
    inside[0, -1] = 60  # void beyond doubt: what is left over is below float32's resolution around one
    found = []
    for trust in (0.0, 0.5, 1.0):
        if combine == 'clip':
            found.append(out_of_vocabulary(inside, outside, trust))
        else:
            found.append(geometric_ensemble(inside, outside, seen, 0.4, 0.8, void_trust=trust))
        torch.testing.assert_close(found[-1].class_probs.sum(-1) + found[-1].no_object, torch.ones(6))
        rule = Masks(combine=combine, alpha=0.4, beta=0.8, merge_first=True, void_trust=trust, **RULE)
        numbers = class_probabilities(rule, [('a',), ('b',), ('c',)], inside.numpy(), outside.numpy(), None)
        torch.testing.assert_close(torch.from_numpy(numbers[0]), found[-1].class_probs, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(torch.from_numpy(numbers[1]), found[-1].no_object, rtol=1e-4, atol=1e-6)
    best = outside[:, :-1].softmax(-1).amax(-1)
    for trust, after in ((0.5, found[1]), (1.0, found[2])):
        torch.testing.assert_close(after.no_object, found[0].no_object * (1 - trust * best))
    shares = [f.class_probs / f.class_probs.sum(-1, keepdim=True) for f in found]
    torch.testing.assert_close(shares[1], shares[0])  # which class it is stays


@pytest.mark.parametrize('kind', ['FCCLIP', 'MAFTPlus'])
def test_any_weights_take_the_correction(kind: str) -> None:
    settings = dict(transfer=dict(num_heads=4)) if kind == 'MAFTPlus' else {}
    model, images = tiny_fcclip(kind, **settings), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = model._forward(images)
        model.void_trust = 0.5
        after = model._forward(images)
    assert (after.no_object < before.no_object).all() and (after.class_probs > before.class_probs).all()


@pytest.mark.parametrize(
    ('kind', 'settings', 'said'),
    [
        ('FCCLIP', dict(void_trust=1.5), 'void_trust=1.5'),
        ('FCCLIP', dict(refinement={}, adapter=dict(channels=8)), 'not both'),
        ('MAFTPlus', dict(refinement={}), 'losses of its own'),
    ],
)
def test_what_makes_no_sense_is_refused(kind: str, settings: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        tiny_fcclip(kind, **settings)


def test_a_head_that_tells_no_matches_is_refused() -> None:
    model = tiny_fcclip()
    model.head = OpenVocabMaskFormerHead([4, 6, 8], 7, feat_channels=32, dim=16, num_queries=2, pixel_encoder_layers=1)
    with pytest.raises(ValueError, match='OpenVocabMaskFormerHead gives none'):
        model.set_refinement({})


@pytest.mark.parametrize('trunk', TRUNKS)
def test_clip_learns_from_regions_and_from_the_generator(trunk: str) -> None:
    torch.manual_seed(0)
    model = refined(trunk)
    losses = model.loss(torch.randn(2, 3, 64, 64), stripes(2))
    reached = {}
    for name in ('loss_region', 'loss_mask'):
        model.zero_grad()
        losses[name].backward(retain_graph=True)
        reached[name] = {n.split('.')[0] for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached['loss_region'] == {'backbone', 'clip_logit_scale'}
    assert reached['loss_mask'] == {'backbone', 'head'}
    model.zero_grad()
    total_loss(losses).backward()
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not any(p.requires_grad for p in model.text.parameters())


def test_the_generator_may_be_kept_from_teaching_clip() -> None:
    model = refined(stages_teach=False, train_scale=False)
    model.loss(torch.randn(1, 3, 64, 64), stripes(1))['loss_mask'].backward()
    assert not any(p.grad is not None and p.grad.any() for p in model.backbone.parameters())
    assert not model.clip_logit_scale.requires_grad and not tiny_fcclip().backbone.stages_teach


def test_the_loss_of_probabilities_stays_within_its_bounds() -> None:
    model = refined(weight=1.0, on_probabilities=True)
    with torch.no_grad():
        model.clip_logit_scale.fill_(4.6)  # as sure as CLIP gets
        found = [model.loss(torch.randn(1, 3, 64, 64), stripes(1, segments=3))['loss_region'].item() for _ in range(4)]
    highest = torch.tensor([1.0, 0, 0, 0]).exp().sum().log().item()  # of four classes another one is certain
    assert all(highest - 1 <= value <= highest for value in found)


def test_a_batch_without_any_segment_trains() -> None:
    model = refined()
    losses = model.loss(torch.randn(2, 3, 64, 64), semantic_samples(torch.full((2, 64, 64), 255)))
    total_loss(losses).backward()
    assert losses['loss_region'].item() == 0


def test_what_is_trained_of_clip_learns_slowly() -> None:
    config = dict(
        constructor='DetectronOptimWrapperConstructor',
        optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.05),
        paramwise_cfg=dict(backbone_lr_mult=0.1),
    )
    model = refined()
    groups = build_optim_wrapper(model, config).optimizer.param_groups
    rates = {id(p): group['lr'] for group in groups for p in group['params']}
    assert {
        rates[id(p)] for n, p in model.named_parameters() if p.requires_grad and n.startswith(('backbone', 'clip'))
    } == {0.1}
    assert rates[id(model.void_embedding.weight)] == 1.0


def test_the_authors_file_fits_and_their_frozen_copy_is_left_out(tmp_path: Path) -> None:
    first, second = refined().eval(), tiny_fcclip(seed=1, void_trust=0.5)
    theirs = convert(first.state_dict(), 'maft', inverse=True, num_classes=133)
    copy = {f'frozen_{k}': v for k, v in theirs.items() if k.startswith('backbone.')}
    torch.save({'model': theirs | copy}, tmp_path / 'ovrcoat.pth')
    load_weights(second, read_training_file(str(tmp_path / 'ovrcoat.pth'))['state_dict'], source='file', strict=True)
    assert all(torch.equal(v, second.state_dict()[k]) for k, v in first.state_dict().items())


@pytest.mark.slow
def test_devices() -> None:
    model = refined()
    with fake_cuda() as mode, first_queries_match():
        move_to_fake_cuda(model, mode)
        assert total_loss(model.loss(torch.randn(2, 3, 64, 64), stripes(2))).device.type == 'cuda'
    model = refined().to('meta')
    with meta_device(), first_queries_match():
        total_loss(model.loss(torch.randn(2, 3, 64, 64), stripes(2))).backward()
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
