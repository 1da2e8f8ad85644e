"""MAFT+: where gradients go, the teacher, and the number of passes through the trunk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from device_safety import total_loss
from safetensors.torch import save_file
from tiny_fcclip import TRUNKS, semantic_samples, stripes, tiny_fcclip


def maft(**settings: Any) -> Any:
    return tiny_fcclip('MAFTPlus', **{'transfer': dict(num_heads=4), **settings})


def parts_with_gradient(model: Any, loss: torch.Tensor) -> set[str]:
    """First names of the parameters that a loss reaches."""
    model.zero_grad()
    loss.backward(retain_graph=True)
    reached = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    return {name.split('.')[0] for name in reached}


def test_each_loss_reaches_its_part_only() -> None:
    torch.manual_seed(0)
    model = maft().train()
    model.teacher.visual.trunk.stem[0].weight.data.add_(0.1)  # so that there is something to compensate
    losses = model.loss(torch.randn(2, 3, 64, 64), stripes(2))
    assert parts_with_gradient(model, losses['loss_mask_aware']) == {'backbone', 'transfer'}
    assert parts_with_gradient(model, losses['loss_compensation']) == {'backbone'}
    generator = sum(v for k, v in losses.items() if k not in ('loss_mask_aware', 'loss_compensation'))
    assert parts_with_gradient(model, generator) == {'head', 'void_embedding'}
    assert parts_with_gradient(model, losses['loss_mask']) == {'head'}


def test_one_pass_through_student_and_teacher_each() -> None:
    model = maft().train()
    passes = []
    for tower in (model.backbone.tower, model.teacher):
        tower.register_forward_pre_hook(lambda module, _: passes.append(module))
    total_loss(model.loss(torch.randn(1, 3, 64, 64), stripes(1))).backward()
    assert passes == [model.backbone.tower, model.teacher]


@pytest.mark.parametrize('drop_path', [False, True])
def test_the_teacher_never_drops_paths_and_the_student_if_asked_to(drop_path: bool) -> None:
    clip = {**TRUNKS['convnext'], 'arch': {**TRUNKS['convnext']['arch']}}
    clip['arch']['vision_cfg'] = {**clip['arch']['vision_cfg'], 'timm_drop_path': 0.9}
    model = maft(clip=clip, drop_path=drop_path).train()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model.teacher(images).stages[-1], model.teacher(images).stages[-1])
        passes = [model.backbone(images).last for _ in range(4)]
    assert all(torch.equal(passes[0], other) for other in passes[1:]) is not drop_path
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(model.backbone(images).last, model.teacher(images).stages[-1])


def test_resnets_keep_their_statistics() -> None:
    model = maft(trunk='resnet', drop_path=True).train()
    before = model.backbone.tower.visual.bn1.running_mean.clone()
    model.loss(torch.randn(2, 3, 64, 64), stripes(2))
    assert torch.equal(model.backbone.tower.visual.bn1.running_mean, before)


@pytest.fixture
def source(tmp_path: Path) -> str:
    """A file with weights of the tiny CLIP."""
    parts = maft(seed=5).parts
    path = tmp_path / 'clip.safetensors'
    save_file({k: v.contiguous() for k, v in parts.clip.model.state_dict().items()}, path)
    return str(path)


def test_the_teacher_is_the_clip_of_the_config_and_in_no_checkpoint(source: str) -> None:
    model = maft(clip={**TRUNKS['convnext'], 'pretrained': source})
    assert model.teacher is None
    model.init_weights()
    original = {k: v.clone() for k, v in model.teacher.state_dict().items()}
    assert torch.equal(original['visual.trunk.stem.0.weight'], model.backbone.tower.visual.trunk.stem[0].weight)
    with torch.no_grad():
        model.backbone.tower.visual.trunk.stem[0].weight.add_(1)
    state = model.state_dict()
    assert not [k for k in state if k.startswith('teacher.')]
    other = maft(seed=9, clip={**TRUNKS['convnext'], 'pretrained': source})
    other.load_state_dict(state)  # without init_weights: the teacher comes when it is needed
    assert other.teacher is None
    total_loss(other.train().loss(torch.randn(1, 3, 64, 64), stripes(1))).backward()
    assert all(torch.equal(v, original[k]) for k, v in other.teacher.state_dict().items())
    assert all(torch.equal(v, state[k]) for k, v in other.state_dict().items())
    assert not other.teacher.training and not [p for p in other.teacher.parameters() if p.requires_grad]
    model.load_state_dict(other.state_dict())  # a model that has its teacher keeps it
    assert all(torch.equal(v, original[k]) for k, v in model.teacher.state_dict().items())


def test_a_clip_without_a_source_keeps_its_teacher_in_checkpoints() -> None:
    state = maft(seed=1).state_dict()
    assert [k for k in state if k.startswith('teacher.visual.')]
    maft(seed=2).load_state_dict(state)


def test_scrambled_pixels_are_made_of_the_same_numbers_and_differ() -> None:
    model = maft(scrambled_pixels=True)
    with torch.no_grad():
        features = model.extract_feat(torch.randn(1, 3, 64, 96))
        right, wrong = (model.backbone.embed_pixels(features, scrambled) for scrambled in (False, True))
        first = features.last.flatten()[: features.last.shape[1]][None, None]
        torch.testing.assert_close(wrong[:, :, 0, 0], model.backbone.tower.embed(first)[:, 0])
        torch.testing.assert_close(right[:, :, 0, 0], model.backbone.tower.embed(features.last[:, None, :, 0, 0])[:, 0])
    assert not torch.allclose(right, wrong)
    with pytest.raises(ValueError, match='ViTTower'), torch.no_grad():
        maft(trunk='vit', scrambled_pixels=True).predict(torch.randn(1, 3, 64, 64))


@pytest.mark.slow
def test_a_few_steps_lower_the_loss() -> None:
    torch.manual_seed(0)
    model = maft().train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    images, labels = torch.randn(2, 3, 64, 64), torch.zeros(2, 64, 64, dtype=torch.long)
    labels[:, :, 32:] = 2
    values = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = total_loss(model.loss(images, semantic_samples(labels)))
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert sum(values[-3:]) < 0.8 * sum(values[:3])
