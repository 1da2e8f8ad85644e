"""Prompts that learn without labels: whom they learn from, what alone learns, and what is kept of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from device_safety import fake_cuda, move_to_fake_cuda
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_open_vocab import ARCH, TINY_DINO

from denseclip.models.builder import build_module
from denseclip.models.functional.pseudo_labels import UNLABELLED, confident_samples, surest_labels
from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.models.pretraining import NoLA
from denseclip.models.pretraining.export import export_pretrained
from denseclip.weights import write_safetensors

WORDS = ['sky', ('car', ['automobile']), 'tree']
CLIP = dict(model='ViT-B-16', arch=ARCH)
TEACHER = dict(
    type='OpenVocabularySegmentor',
    clip=dict(**CLIP, preset='proxyclip'),
    affinity=dict(type='DINOAffinity', dino=TINY_DINO),
    output='probabilities',
    templates='photo',
)
CONFIG: dict[str, Any] = dict(
    type='NoLA',
    clip=dict(**CLIP, preset='naclip'),
    teacher=TEACHER,
    vocabulary=WORDS,
    deep_prompts=dict(length=2, depth=1),
    templates='photo',
)


def tiny(**changes: Any) -> NoLA:
    torch.manual_seed(0)
    return build_module({**CONFIG, **changes})


def pictures(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 9), st.integers(0, 2**20))
def test_the_surest_labels_are_the_confident_samples_of_first_choices(samples, classes, count, seed):
    p = torch.rand(samples, classes, generator=torch.Generator().manual_seed(seed)).softmax(dim=1)
    index, labels = confident_samples(p, count, choices=1)
    wanted = torch.full((samples,), UNLABELLED)
    wanted[index] = labels
    assert torch.equal(surest_labels(p, count), wanted)


def test_prompts_alone_learn_and_come_to_agree_with_the_teacher():
    model = tiny(colours=0.0).train()
    frozen = {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}
    trained = [p for p in model.parameters() if p.requires_grad]
    assert {id(p) for p in trained} == {id(p) for p in model.prompts.parameters()}
    optimizer = torch.optim.AdamW(trained, lr=0.02)
    found = []
    for _ in range(15):
        losses = model(pictures(), mode='loss')
        optimizer.zero_grad()
        losses['loss'].backward()
        assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in trained)
        optimizer.step()
        found.append({key: float(value.detach()) for key, value in losses.items()})
    assert found[-1]['loss'] < found[0]['loss'] - 0.1 and found[-1]['agreement'] >= found[0]['agreement']
    assert all(torch.equal(p, frozen[name]) for name, p in model.named_parameters() if name in frozen)


def test_labels_come_from_the_teacher_and_each_class_has_so_many_at_most():
    model = tiny(share=0.3, least=5).train()
    labels, grid = model.pseudo_labels(pictures())
    with torch.no_grad():
        scores = model.teacher.head_logits(pictures())
    assert grid == tuple(scores.shape[-2:]) and len(labels) == 2 * grid[0] * grid[1]
    best = scores.permute(0, 2, 3, 1).reshape(-1, 3).argmax(dim=1)
    chosen = labels != UNLABELLED
    assert torch.equal(labels[chosen], best[chosen])
    most = max(5, int(0.3 * len(labels) / 3))
    assert torch.bincount(labels[chosen], minlength=3).tolist() == [
        min(most, n) for n in torch.bincount(best, minlength=3).tolist()
    ]


def test_descriptions_are_for_the_teacher_alone():
    model = tiny(descriptions={'sky': ['blue'], 'automobile': ['wheels', 'a red hood'], 'tree': ['leaves']})
    assert model.teacher.vocabulary.groups[1] == ('car, which has wheels', 'car, which is a red hood')
    assert model.vocabulary.groups[1] == ('car', 'automobile')
    with pytest.raises(ValueError, match='none or prompts'):
        model.set_vocabulary(dict(classes=WORDS, background='threshold', threshold=0.5))
    with pytest.raises(ValueError, match="output='probabilities'"):
        tiny(teacher={**TEACHER, 'output': 'cosines'})


def test_a_checkpoint_holds_the_prompts_and_the_folder_brings_them_to_every_model(tmp_path: Path):
    source = dict(**CLIP, quick_gelu=False)
    write_safetensors(OpenCLIPParts(**source).clip.model.state_dict(), tmp_path / 'clip.safetensors')
    source['pretrained'] = str(tmp_path / 'clip.safetensors')
    changes = dict(
        clip=dict(**source, preset='naclip'), teacher={**TEACHER, 'clip': dict(**source, preset='proxyclip')}
    )
    model = tiny(**changes).eval()
    with torch.no_grad():
        model.prompts.tokens[0].normal_()
    state = model.state_dict()
    assert {name.split('.')[0] for name in state if 'affinity' not in name} == {'prompts'}
    again = tiny(**changes).eval()
    again.load_state_dict(state)
    with torch.no_grad():
        wanted = model(pictures())
        torch.testing.assert_close(again(pictures()), wanted)
        export_pretrained({**CONFIG, **changes}, state, tmp_path / 'out', half=False)
        clip = dict(model=f'local-dir:{tmp_path / "out"}', preset='naclip')
        config = dict(type='OpenVocabularySegmentor', clip=clip, vocabulary=WORDS, templates='photo', merge='mean')
        torch.testing.assert_close(build_module(config).eval().head_logits(pictures()), wanted)


def test_labels_are_chosen_and_learnt_on_the_device_of_the_pictures():
    model = tiny().train()
    with fake_cuda() as mode:
        move_to_fake_cuda(model, mode)
        assert model(torch.randn(1, 3, 64, 64), mode='loss')['loss'].device.type == 'cuda'
