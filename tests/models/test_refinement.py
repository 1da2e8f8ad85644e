"""CLIP-Refine: its losses in other words, what learns, and what is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from device_safety import fake_cuda, move_to_fake_cuda
from mmengine.structures import BaseDataElement

from denseclip.clip.loading import load_clip
from denseclip.models.functional.contrastive import (
    contrastive_loss,
    hybrid_distillation_loss,
    random_alignment_loss,
)
from denseclip.models.pretraining import RefinedCLIP, export_pretrained

ARCH = dict(
    embed_dim=16,
    vision_cfg=dict(image_size=32, patch_size=16, layers=2, width=32, head_width=16),
    text_cfg=dict(width=16, heads=2, layers=1),
)
CAPTIONS = ['a red ball', 'two mugs', 'a red ball', 'a key on sand']


def pairs(seed: int, count: int = 5) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [F.normalize(torch.randn(count, 8, generator=generator, dtype=torch.float64), dim=1) for _ in range(2)]


def tiny(**changes: Any) -> RefinedCLIP:
    torch.manual_seed(0)
    return RefinedCLIP(dict(model='ViT-B-16', arch=ARCH), **changes)


def batch() -> tuple[torch.Tensor, list[BaseDataElement]]:
    pictures = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    return pictures, [BaseDataElement(metainfo=dict(caption=c, caption_group=c)) for c in CAPTIONS]


@pytest.mark.parametrize('alpha', [0.0, 0.5, 1.0])
def test_distillation_is_the_papers_formula(alpha):
    """KL(alpha I + (1 - alpha) Q || P), rows of both directions, in numpy."""
    mine, theirs, scales = pairs(0), pairs(1), (7.0, 11.0)

    def softmax(x: np.ndarray) -> np.ndarray:
        e = np.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    wanted = 0.0
    logits = [s * (a.numpy() @ b.numpy().T) for s, (a, b) in zip(scales, (mine, theirs), strict=True)]
    for p, q in ((logits[0], logits[1]), (logits[0].T, logits[1].T)):
        target = alpha * np.eye(5) + (1 - alpha) * softmax(q)
        ratio = np.log(np.where(target > 0, target, 1.0)) - np.log(softmax(p))
        wanted += (target * ratio).sum(axis=1).mean() / 2
    tensors = tuple(torch.tensor(s, dtype=torch.float64) for s in scales)
    found = hybrid_distillation_loss(mine, theirs, tensors, alpha)
    assert found.item() == pytest.approx(wanted, rel=1e-9)
    same = hybrid_distillation_loss(theirs, theirs, (tensors[1], tensors[1]), 0.0)
    assert same.item() == pytest.approx(0.0, abs=1e-12)
    if alpha == 1:
        assert found.item() == pytest.approx(contrastive_loss(*mine, tensors[0]).item(), rel=1e-9)


def test_pairs_of_one_group_share_the_truth():
    mine, scale = pairs(0, 3), torch.tensor(9.0, dtype=torch.float64)
    found = hybrid_distillation_loss(mine, mine, (scale, scale), 1.0, torch.tensor([4, 8, 4]))
    truth = torch.tensor([[0.5, 0, 0.5], [0, 1, 0], [0.5, 0, 0.5]], dtype=torch.float64)
    logits = scale * mine[0] @ mine[1].T
    ways = [-(truth * way.log_softmax(dim=1)).sum(dim=1).mean() for way in (logits, logits.T)]
    entropy = 2 / 3 * torch.log(torch.tensor(2.0)).item()  # KL is cross-entropy less that of the target
    assert found.item() == pytest.approx(((ways[0] + ways[1]) / 2).item() - entropy, rel=1e-6)


def test_alignment_is_zero_at_the_reference_and_half_the_mean_square_elsewhere():
    reference = torch.randn(4, 6, dtype=torch.float64)
    assert random_alignment_loss(reference, reference, reference).item() == 0
    assert random_alignment_loss(reference + 1, reference, reference).item() == pytest.approx(3.0)
    assert random_alignment_loss(reference + 1, reference - 2, reference).item() == pytest.approx(15.0)


def test_both_towers_learn_the_teacher_does_not_and_a_pair_comes_together():
    model = tiny().train()
    before = {name: p.clone() for name, p in model.teacher.named_parameters()}
    first = model(*batch(), mode='loss')
    assert first['loss_distill'].item() > 0 and first['loss_align'].item() > 0
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)

    def apart() -> float:
        with torch.no_grad():
            return (torch.sub(*model.embed(batch()[0], CAPTIONS))).norm(dim=1).mean().item()

    start = apart()
    for _ in range(12):
        losses = model(*batch(), mode='loss')
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    assert apart() < start
    assert all(p.grad is not None for p in model.clip.parameters())
    assert all(torch.equal(p, before[name]) for name, p in model.teacher.named_parameters())
    sample = model.eval()(*batch(), mode='predict')[0]
    assert not torch.allclose(sample.image_embedding, sample.image_embedding_before)
    assert 'loss_align' not in tiny(alignment=0.0)(*batch(), mode='loss')
    with pytest.raises(ValueError, match='between 0 and 1'):
        tiny(alpha=1.5)


def test_a_checkpoint_has_no_teacher_and_its_export_is_the_trained_clip(tmp_path: Path):
    config = dict(type='RefinedCLIP', clip=dict(model='local-dir:checkpoints/miniworld_clip'))
    model = RefinedCLIP(config['clip'])
    with torch.no_grad():
        model.clip.visual.proj.mul_(-1)
    state = model.state_dict()
    assert {name.split('.')[0] for name in state} == {'clip'}
    export_pretrained(config, state, tmp_path, half=False)
    again: Any = load_clip(f'local-dir:{tmp_path}').model
    assert torch.equal(again.visual.proj, model.clip.visual.proj)
    assert not torch.equal(again.visual.proj, model.teacher.visual.proj)


def test_vectors_are_drawn_on_the_device_of_the_pictures():
    model = tiny().train()
    samples = batch()[1]
    with fake_cuda() as mode:
        move_to_fake_cuda(model, mode)
        losses = model(torch.randn(4, 3, 32, 32), samples, mode='loss')
        assert {value.device.type for value in losses.values()} == {'cuda'}
