"""The converter of the authors' DenseCLIP checkpoints, over their full-size layouts."""

import json
from pathlib import Path

import pytest
import torch

from denseclip.weights.convert import convert
from denseclip.weights.convert.denseclip import is_official

LAYOUTS = sorted((Path(__file__).parents[1] / 'golden/data/denseclip/full_size_layouts').glob('*.json'))


def layout(path):
    """Names of a full-size checkpoint; the tensors are placeholders that remember their name's place."""
    names = json.loads(path.read_text())['state_dict']
    return {name: torch.tensor(place) for place, name in enumerate(names)}


@pytest.mark.parametrize('path', LAYOUTS, ids=lambda p: p.stem)
def test_round_trip_keeps_every_name_and_tensor(path):
    theirs = layout(path)
    ours = convert(theirs, 'denseclip')
    assert len(ours) == len(theirs)
    assert list(convert(ours, 'denseclip', inverse=True).items()) == list(theirs.items())


@pytest.mark.parametrize('path', LAYOUTS, ids=lambda p: p.stem)
def test_official_files_are_recognised_and_ours_are_not(path):
    theirs = layout(path)
    assert is_official(theirs)
    assert not is_official(convert(theirs, 'denseclip'))


def test_a_plain_mmseg_resnet_is_not_official():
    names = ['backbone.conv1.weight', 'backbone.layer1.0.conv3.weight', 'backbone.layer4.0.bn3.bias', 'neck.x']
    assert not is_official({name: torch.zeros(()) for name in names})


def test_the_pyramid_of_the_vit_keeps_its_place():
    ours = convert({'backbone.ln_pre.weight': torch.zeros(1), 'backbone.fpn1.0.weight': torch.zeros(1)}, 'denseclip')
    assert set(ours) == {'backbone.tower.visual.ln_pre.weight', 'backbone.fpn1.0.weight'}


def test_the_trunk_of_any_backbone():
    theirs = {
        'backbone.body.conv1.weight': torch.zeros(1),
        'backbone.attnpool.c_proj.bias': torch.zeros(2),
        'text_encoder.ln_final.bias': torch.zeros(3),
    }
    ours = convert(theirs, 'denseclip')
    assert set(ours) == {
        'backbone.trunk.conv1.weight',
        'backbone.attnpool.c_proj.bias',
        'text_encoder.tower.ln_final.bias',
    }
    assert set(convert(ours, 'denseclip', inverse=True)) == set(theirs)
