"""SPAR's teacher, student and loss against the authors' numbers."""

from __future__ import annotations

from typing import Any

import torch

from denseclip.models.segmentors import SPAR
from denseclip.weights import load_into
from denseclip.weights.convert import convert

from .fixtures import Fixture
from .registry import consumes


@consumes('training_free', 'spar')
def check_spar(fixture: Fixture) -> None:
    """Features of the windows at several steps, of one pass, their distance, what learns and how it moves."""
    config = fixture.config
    every, picture = config['every_channel'], fixture.input('picture')

    def build(stride: int) -> Any:
        clip = dict(model='ViT-B-16', arch=config['clip'], quick_gelu=False)
        clip.update(preset='maskclip', read_out=dict(pos_resize='bicubic+0.1'))
        model = SPAR(clip, train_blocks=config['train_blocks'], window=config['window'], stride=stride, window_batch=3)
        visual: Any = model.tower.visual
        for tower in (visual, model.teacher.visual):
            load_into(tower, convert(fixture.state(), 'openai_clip', part='visual'), source=fixture.id)
        return model

    for stride in config['strides']:
        fixture.expect(f'teacher_{stride}', build(stride).teacher_features(picture)[:, ::every])
    model = build(config['distilled_stride']).train()
    fixture.expect('student', model.dense_features(picture)[:, ::every])
    loss = model.loss(picture)['loss_features']
    fixture.expect('loss', loss)
    loss.backward()
    trained = [name for name, value in model.tower.named_parameters() if value.requires_grad]
    assert sorted(trained) == sorted(config['trained'])
    blocks = model.tower.visual.transformer.resblocks
    for name in [match[1] for match in fixture.outputs(r'grad\.(.+)')]:
        gradient = blocks.get_parameter(name).grad
        assert gradient is not None
        fixture.expect(f'grad.{name}', gradient)
    assert all(value.grad is None for value in model.teacher.parameters())
    assert torch.isfinite(loss)
