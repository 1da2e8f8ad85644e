"""Configs that bring all their weights: options that count, and weights of chance that are refused."""

import pytest
import torch
from mmengine.config import Config
from torch import nn

from denseclip.apis.errors import UserError
from denseclip.apis.stress import load_subject
from denseclip.apis.stress.zero_shot import _fresh, _trust, require_extras, zero_shot_model
from denseclip.engine.config import load_config

CONFIG = 'configs/miniworld/maskclip_vit-xs8_zs_miniworld-128x128.py'
TINY = {'vision_cfg': {'layers': 1, 'width': 64}, 'text_cfg': {'layers': 1, 'width': 64}}
PROXY = 'configs/miniworld/proxyclip_vit-xs8_zs_miniworld-128x128.py'


def test_precision_and_layout_reach_the_model():
    found = zero_shot_model(load_config(CONFIG), device='cpu', precision='bf16', layout='channels_last')
    assert (found.compute.precision, found.compute.layout) == ('bf16', 'channels_last')
    assert torch.bfloat16 in {value.dtype for value in found.model.tower.parameters()}


def test_trust_reaches_all_sources_of_weights():
    found = zero_shot_model(load_config(PROXY), device='cpu', clip=None, trust=True)
    assert found.model.affinity.dino.trust
    named = Config({'model': {'clip': {'model': 'ViT-B-32', 'pretrained': 'mine.pt'}}})
    _trust(named)
    assert named.model.clip.pretrained == {'source': 'mine.pt', 'trust': True}


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'clip': 'ViT-B-16'}, 'the config says which CLIP it takes'),
        ({'pretrained': 'openai'}, 'the config says which CLIP it takes'),
        ({'score': 0.5}, 'score do not go with'),
        ({'precision': 'fp8'}, 'fp8'),
        ({'precision': 'fp16', 'device': 'cpu'}, 'fp16'),
    ],
)
def test_options_that_do_not_go_with_it_are_refused(root, options, said):
    with pytest.raises(UserError, match=said):
        load_subject(CONFIG, limit=1, overrides={'test_dataloader.dataset.data_root': str(root)}, **options)


@pytest.mark.parametrize('preset', ['proxyclip', 'lposs', 'dinoiser'])
def test_presets_get_no_weights_of_chance(root, preset):
    where = {'test_dataloader.dataset.data_root': str(root)}
    with pytest.raises(UserError, match=f"preset '{preset}' needs weights of"):
        load_subject(CONFIG, preset=preset, limit=1, overrides=where)


def test_presets_with_what_they_need_are_taken():
    require_extras(load_config(PROXY), None)
    require_extras(Config({'model': {'clip': {'preset': 'dinoiser'}}}), 'file.safetensors')
    require_extras(Config({'model': {'type': 'EncoderDecoder'}}), None)


def test_segment_anything_gets_no_weights_of_chance():
    model = {'clip': {'preset': 'trident'}, 'affinity': {'dino': {'pretrained': 'dino.pth'}}}
    for sam in ({}, {'sam': {'columns': 2}}, {'sam': {'source': None}}):
        with pytest.raises(UserError, match=r"preset 'trident' needs weights of .*model\.sam\.source=FOLDER"):
            require_extras(Config({'model': {**model, **sam}}), None)
    for sam in ({'source': 'folder'}, {'pretrained': 'sam.pth'}, {'type': 'OfAnotherProject'}):
        require_extras(Config({'model': {**model, 'sam': sam}}), None)
    with pytest.raises(UserError, match=r'model\.affinity\.dino\.pretrained=FILE'):
        require_extras(Config({'model': {'clip': {'preset': 'trident'}, 'sam': {'source': 'folder'}}}), None)


@pytest.mark.parametrize(
    ('part', 'changed', 'said'),
    [
        ('affinity', {'dino': {'pretrained': None}}, r'affinity\.dino\.vit'),
        ('clip', {'model': 'ViT-B-32', 'arch': TINY}, r'tower\.'),
    ],
)
def test_weights_that_come_from_nowhere_are_refused(part, changed, said):
    config = load_config(PROXY)
    config.merge_from_dict({f'model.{part}': changed})
    with pytest.raises(UserError, match=f'nothing brings weights for .*{said}'):
        zero_shot_model(config, device='cpu')


def test_weights_that_are_frozen_and_have_no_lazy_source_are_taken():
    class Model(nn.Module):
        def __init__(self, learns):
            super().__init__()
            self.regions = nn.Linear(1, 1).requires_grad_(learns)

    assert _fresh(Model(learns=False)) == []
    assert _fresh(Model(learns=True)) == ['regions.weight', 'regions.bias']
