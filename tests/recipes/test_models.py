"""Functions give the parts of models that configs spell out."""

from __future__ import annotations

from pathlib import Path

import mmdet
import pytest
from mmengine.config import Config

from denseclip import recipes

MODELS = Path(__file__).parents[2] / 'configs/_base_/models'


def model(name: str) -> Config:
    return Config.fromfile(MODELS / f'{name}.py').model


@pytest.mark.parametrize('name', ['denseclip_fpn_clip-r50', 'denseclip_retinanet_clip-r50_fpn'])
def test_the_papers_guidance_as_it_is_spelled_out(name: str) -> None:
    written = model(name)
    given = recipes.text_guidance('RN50', width=1024)
    assert {key: written[key] for key in given} == given


def test_smaller_guidance_has_the_same_parts() -> None:
    """What it leaves out is the fusion, which its configs name; what it adds are the sentences."""
    small, paper = recipes.sentence_guidance(), recipes.text_guidance('RN50', width=1024)
    assert {*paper} - {*small} == {'score_fusion'} and {*small} - {*paper} == {'templates'}
    assert small['text_encoder']['frozen'] is paper['text_encoder']['frozen'] is True


@pytest.mark.parametrize('name', ['fpn_r50', 'fpn_swin-t', 'retinanet_r50_fpn', 'mask-rcnn_swin-t_fpn'])
def test_a_pool_stands_on_the_trunk_of_the_model_without_text(name: str) -> None:
    plain, guided = model(name), model(f'denseclip_{name}')
    assert guided.backbone.trunk == plain.backbone
    assert guided.backbone.in_channels == plain.neck.in_channels[-1]
    assert guided.backbone.embed_dim == guided.context_decoder.visual_dim


def test_the_windowed_tower_is_that_of_the_segmentor_but_for_its_windows() -> None:
    plain, windowed = model('fpn_clip-vit-b16').backbone, recipes.windowed_vit(strides=(8, 16, 32))
    assert windowed['strides'] == (8, 16, 32) and windowed.pop('_delete_') is True
    same = ('type', 'model', 'pretrained', 'drop_path_rate')
    assert {key: windowed[key] for key in same} == {key: plain[key] for key in same}
    assert windowed['input_resolution'] % 16 == 0 and windowed['input_resolution'] // 16 % windowed['window_size'] == 0


def test_the_trunk_of_detectors_is_mmdets_own() -> None:
    theirs = Config.fromfile(
        Path(mmdet.__file__).parent / '.mim/configs/_base_/models/retinanet_r50_fpn.py'
    ).model.backbone
    assert theirs == recipes.imagenet_r50() == model('retinanet_r50_fpn').backbone


def test_each_call_gives_parts_of_its_own() -> None:
    first = recipes.efficientnet_lite0()
    first['pretrained']['source'] = 'mine'
    assert recipes.efficientnet_lite0()['pretrained']['source'] != 'mine'
