"""Semantic, panoptic and instance results of one small model on a picture, their files and pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from safetensors.torch import save_file
from tiny_pmp_hosts import FCCLIP

from denseclip.apis.detection import Detections
from denseclip.apis.errors import UserError
from denseclip.apis.mask_inferencer import MaskInferencer
from denseclip.apis.methods import METHODS, methods_for
from denseclip.apis.panoptic import PanopticSegmentation, format_segments
from denseclip.apis.segmentation import Segmentation
from denseclip.apis.zoo import ours
from denseclip.cli.main import main
from denseclip.clip.vocabulary import Vocabulary
from denseclip.evaluation.panoptic_files import read_panoptic_png
from denseclip.models.builder import build_module
from denseclip.models.segmentors import mask_results

PICTURE = np.random.default_rng(0).integers(0, 256, (60, 84, 3), dtype=np.uint8)
STEPS = [
    dict(type='LoadImageFromFile'),
    dict(type='PillowResizeShortSide', short_side=64, max_long_side=128),
    dict(type='LoadPanopticSegments'),
    dict(type='PackPanopticInputs'),
]


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Config and weights of a small model."""
    folder = tmp_path_factory.mktemp('model')
    torch.manual_seed(0)
    model = build_module(FCCLIP)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    save_file(state, folder / 'model.safetensors')
    path = folder / 'model.py'
    path.write_text(f'default_scope = "mmseg"\nmodel = {FCCLIP!r}\ntest_pipeline = {STEPS!r}\n')
    assert Config.fromfile(path).model.type == 'FCCLIP'
    return path, folder / 'model.safetensors'


@pytest.fixture(scope='module')
def inferencer(files):
    return MaskInferencer(*files, device='cpu', score=0.0)


@pytest.fixture
def sure(monkeypatch):
    """An untrained model takes every mask for no object; leave that class out."""
    merge = mask_results.panoptic_segments
    monkeypatch.setattr(mask_results, 'panoptic_segments', lambda *a, **k: merge(*a, **{**k, 'no_object': None}))


def test_each_task_gives_its_result_in_the_size_of_the_picture(inferencer):
    kinds = {'semantic': Segmentation, 'panoptic': PanopticSegmentation, 'instance': Detections}
    for task, kind in kinds.items():
        inferencer.set_task(task)
        found = inferencer.segment(PICTURE)
        assert type(found) is kind
    assert found.masks.shape[1:] == PICTURE.shape[:2] and set(found.labels.tolist()) <= {0}
    assert (np.diff(found.scores) <= 0).all()
    with pytest.raises(UserError, match="'boxes'"):
        inferencer.set_task('boxes')


def test_panoptic_results_fit_together_and_are_written(inferencer, tmp_path, sure):
    inferencer.set_task('panoptic')
    found = inferencer.segment(PICTURE, 'bus; sky; cat')
    assert found.ids.shape == PICTURE.shape[:2] and found.segments
    for segment in found.segments:
        assert (found.ids == segment.id).sum() == segment.pixels == found.mask(segment.title).sum() > 0
        assert segment.is_thing == (found.vocabulary.names[segment.label] != 'sky')
    assert sum(s.label == 1 for s in found.segments) <= 1  # stuff is one segment
    overlay, panoptic, listing = found.save(tmp_path, 'x')
    assert np.array_equal(read_panoptic_png(panoptic), found.ids)
    content = json.loads(listing.read_text())
    assert [s['area'] for s in content['segments_info']] == [s.pixels for s in found.segments]
    assert Image.open(overlay).width > PICTURE.shape[1]
    text = format_segments(found)
    assert all(segment.title in text for segment in found.segments)
    with pytest.raises(UserError, match='--force'):
        found.save(tmp_path, 'x')


def test_all_results_tell_which_classes_took_part(inferencer, sure):
    inferencer.active_vocabulary = dict(scorer='dense', most=2)
    for task in ('semantic', 'panoptic', 'instance'):
        inferencer.set_task(task)
        found = inferencer.segment(PICTURE, 'bus; dog; cat')
        assert len(found.active) == 2 and found.active_by == 'dense', task
        assert {region.title.split()[0] for region in found.regions()} <= set(found.active)
        said = found.to_dict()['active_vocabulary']
        assert said['considered'] == 3 and [entry['class'] for entry in said['kept']] == list(found.active)
        assert 'classes chosen by dense: 2 of 3 took part' in found.summary()
        if task != 'semantic':
            assert found.above(1.0).active == found.active
    inferencer.active_vocabulary = None
    assert inferencer.segment(PICTURE).active is None


def test_things_follow_what_is_said(files, inferencer):
    inferencer.set_task('panoptic')
    inferencer.set_vocabulary('bus; sky')
    assert inferencer.model.is_thing.tolist() == [True, False]
    inferencer.set_vocabulary('bus; sky', things=['sky'])
    assert inferencer.model.is_thing.tolist() == [False, True]
    own = MaskInferencer(*files, device='cpu', things='none')
    assert own.model.is_thing.tolist() == [False, False, False]
    with pytest.raises(UserError, match='truck'):
        inferencer.set_vocabulary('bus; sky', things=['truck'])


def test_strips_keep_their_size(inferencer):
    strip = np.zeros((4, 120, 3), dtype=np.uint8)
    for task in ('panoptic', 'instance'):
        inferencer.set_task(task)
        found = inferencer.segment(strip)
        size = found.ids.shape if task == 'panoptic' else found.masks.shape[1:]
        assert size == (4, 120)


def test_segments_are_numbered_and_found_by_name():
    ids = np.array([[1, 1, 2], [3, 9, 2]], dtype=np.int32)
    info = [
        dict(id=1, category_id=0, isthing=True, score=0.9),
        dict(id=2, category_id=1, isthing=False, score=0.8),
        dict(id=3, category_id=0, isthing=True, score=0.7),
        dict(id=5, category_id=0, isthing=True, score=0.7),
        dict(id=9, category_id=2, isthing=True, score=0.6),
    ]
    vocabulary = Vocabulary.of('car; road; dog')
    found = PanopticSegmentation.of(
        ids, info, vocabulary, np.zeros((3, 3), dtype=np.uint8), np.zeros((2, 3, 3), np.uint8)
    )
    assert [s.title for s in found.segments] == ['car 1', 'road', 'car 2', 'dog']
    assert found.ids.tolist() == [[1, 1, 2], [3, 4, 2]]
    assert found.mask('CAR 2').tolist() == [[False, False, False], [True, False, False]]
    assert found.mask('car').sum() == 3
    with pytest.raises(KeyError, match='bus'):
        found.mask('bus')


def test_command_line_writes_the_files_of_the_task(files, tmp_path, capsys, sure):
    Image.fromarray(PICTURE).save(tmp_path / 'a.png')
    config, weights = files
    common = [str(tmp_path / 'a.png'), '--config', str(config), '--weights', str(weights), '--device', 'cpu']
    ends = {
        'semantic': ['_areas.csv', '_labels.png', '_overlay.png'],
        'panoptic': ['_overlay.png', '_panoptic.json', '_panoptic.png'],
        'instance': ['_boxes.json', '_boxes.png'],
    }
    for task, expected in ends.items():
        out = tmp_path / task
        options = ['--task', task, '--classes', 'dog; grass', '--things', 'dog', '--score', '0', '--out', str(out)]
        assert main(['segment', *common, *options]) == 0
        assert sorted(p.name for p in out.iterdir()) == [f'a{end}' for end in expected]
        shown = capsys.readouterr().out
        assert {'semantic': 'class', 'panoptic': 'segment', 'instance': 'objects'}[task] in shown
    content = json.loads((tmp_path / 'panoptic' / 'a_panoptic.json').read_text())
    assert content['classes'] == ['dog', 'grass']


def test_command_line_says_what_does_not_go_together(files, tmp_path, capsys):
    Image.fromarray(PICTURE).save(tmp_path / 'a.png')
    base = ['segment', str(tmp_path / 'a.png'), '--out', str(tmp_path / 'out')]
    assert main([*base, '--task', 'panoptic']) == 2
    assert '--method' in capsys.readouterr().err
    config, weights = (str(f) for f in files)
    assert main([*base, '--config', config, '--weights', weights, '--task', 'instance', '--score', '2']) == 2
    assert 'between 0 and 1' in capsys.readouterr().err
    assert main([*base, '--config', config, '--weights', weights, '--things', 'dog']) == 2
    assert 'dog' in capsys.readouterr().err


def test_methods_take_their_own_config_and_ask_for_weights(files, tmp_path, capsys, sure):
    Image.fromarray(PICTURE).save(tmp_path / 'a.png')
    base = ['segment', str(tmp_path / 'a.png'), '--device', 'cpu', '--classes', 'dog; grass', '--method', 'fcclip']
    assert main([*base, '--out', str(tmp_path / 'none'), '--task', 'panoptic']) == 2
    message = capsys.readouterr().err
    assert '--weights' in message and Path(METHODS['fcclip'].config).name in message
    config, weights = (str(f) for f in files)
    out = tmp_path / 'out'
    assert main([*base, '--config', config, '--weights', weights, '--task', 'panoptic', '--out', str(out)]) == 0
    assert read_panoptic_png(out / 'a_panoptic.png').shape == PICTURE.shape[:2]


@pytest.mark.parametrize('method', methods_for('panoptic'))
def test_configs_of_methods_exist(method):
    assert Config.fromfile(ours(METHODS[method].config)).model.test_cfg.task
    with pytest.raises(UserError, match='nowhere'):
        ours('configs/nowhere.py')
