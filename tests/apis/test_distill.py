"""A student learns from what a teacher wrote, and begins with the teacher's trunk where it is told to."""

import json

import numpy as np
import pytest
import torch
from drawn_teacher import DrawnTeacher, draw_picture
from mmengine.config import Config
from mmengine.registry import MODELS

from denseclip.apis.distill import BASE, distill
from denseclip.apis.errors import UserError
from denseclip.apis.inferencer import Inferencer
from denseclip.apis.labelling.folder import Order, label_folder
from denseclip.apis.labelling.store import Store
from denseclip.files.shipped import here_or_shipped
from denseclip.weights import WeightMismatchError, read_state_dict
from denseclip.weights.convert import convert

BUNDLED = 'checkpoints/denseclip_fpn_efficientnet-lite0_camvid.safetensors'
SMALL = {
    'model.backbone.pretrained': None,
    'train_dataloader.batch_size': 2,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
}


@pytest.fixture
def shots(tmp_path):
    for place in range(6):
        draw_picture(tmp_path / f'shots/{place // 3}/{place}.png', place, (64, 80))
    return tmp_path / 'shots'


def maps(shots, out, words='road; car; sky', **options):
    label_folder(shots, out, lambda: DrawnTeacher(words), Order('masks', **options))
    return out


@pytest.mark.slow
def test_a_student_learns_the_words_of_the_teacher(shots, tmp_path):
    words = ['road', 'a {x}; "b"', "straße's"]
    data = maps(shots, tmp_path / 'maps', words, confidences=True)
    made = distill(data, tmp_path / 'student', iterations=2, least=0.5, seed=0, overrides=SMALL, val_share=0.3)
    assert made.classes == tuple(words) and 'mIoU' in made.scores
    steps = Config.fromfile(made.config).train_dataloader.dataset.pipeline
    assert [step['type'] for step in steps[:3]] == ['LoadImageFromFile', 'LoadAnnotations', 'IgnoreDoubtful']
    loss = Config.fromfile(made.config).model.decode_head.loss_decode
    areas = [sum(o.area for r in Store(data).records() for o in r.objects if o.label == k) for k in range(3)]
    assert loss.type == 'ClassBalancedCrossEntropyLoss'
    assert np.argsort(loss.class_weight).tolist() == np.argsort(areas)[::-1].tolist()
    student = Inferencer(str(made.config), str(made.weights), device='cpu')
    result = student.segment(shots / '0/0.png')
    assert result.names == tuple(words) and result.label_map.shape == (64, 80)
    with pytest.raises(UserError, match='--resume'):
        distill(data, tmp_path / 'student', iterations=2)
    with pytest.raises(UserError, match='--iterations shapes'):
        distill(data, tmp_path / 'student', iterations=2, resume=True)
    again = distill(data, tmp_path / 'student', resume=True, overrides=SMALL)
    before, after = read_state_dict(made.weights), read_state_dict(again.weights)
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_what_is_no_teaching_is_refused(shots, tmp_path):
    label_folder(shots, tmp_path / 'coco', lambda: DrawnTeacher(), Order('coco'))
    data = maps(shots, tmp_path / 'maps')
    config = tmp_path / 'x.py'
    config.write_text('a = 1')
    for place, options, said in (
        (tmp_path / 'coco', {}, 'as coco'),
        (shots, {}, 'not made by'),
        (tmp_path / 'nowhere', {}, 'not made by'),
        (data, {'least': 0.5}, '--confidences'),
        (data, {'least': 2.0}, 'between 0 and 1'),
        (data, {'trunk': tmp_path / 'no.pth'}, 'no.pth'),
        (config, {'least': 0.5}, 'leave'),
        (tmp_path / 'no.py', {}, 'does not exist'),
    ):
        with pytest.raises(UserError, match=said):
            distill(place, tmp_path / f'out-{said[:4]}', **options)


def test_the_trunk_of_the_bundled_model_fits_the_student():
    weights = str(here_or_shipped(BUNDLED))
    config = Config.fromfile(here_or_shipped(BASE)).model
    config.backbone.pretrained = dict(source=weights, converter='trunk')
    backbone = MODELS.build({**config.backbone, '_scope_': 'mmseg'})
    backbone.init_weights()
    state = read_state_dict(weights)
    for key, value in backbone.trunk.state_dict().items():
        assert torch.equal(value, state[f'backbone.trunk.trunk.{key}'].to(value.dtype)), key
    with pytest.raises(WeightMismatchError, match='no TimmTrunk'):
        convert({'backbone.conv.weight': torch.zeros(1)}, 'trunk')


def test_confidences_lie_beside_the_maps(shots, tmp_path):
    data = maps(shots, tmp_path / 'maps', confidences=True)
    listed = [path.relative_to(data / 'confidences') for path in (data / 'confidences').rglob('*.png')]
    assert listed and all((data / 'masks' / path).is_file() for path in listed)
    assert json.loads((data / '.denseclip/run.record').read_text())['options']['confidences'] is True
