"""A query-based model exported: labels, segments and instances of PyTorch, words free, without torch."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from export_pictures import picture
from mmengine.registry import init_default_scope
from PIL import Image
from tiny_fcclip import tiny_fcclip

from denseclip.apis.errors import UserError
from denseclip.apis.mask_inferencer import MaskInferencer
from denseclip.export import capability, export
from denseclip.export.formats import FORMATS
from denseclip.export.precision import Lowered, calibration_feeds, cost_line
from denseclip.runtime import load

pytestmark = pytest.mark.slow
SIZES = [(64, 96), (97, 131), (200, 90), (33, 257), (12, 9), (240, 321), (20, 400)]
WORDS = 'grass; sky = heaven, cloud; a red car; dog'
STEPS = [dict(type='Resize', scale=(160, 96), keep_ratio=True), dict(type='PackSegInputs')]
SETTINGS = dict(score_threshold=0.0, overlap_threshold=0.05, topk=12)


@pytest.fixture(scope='module')
def model():
    """FC-CLIP in all its parts: synonyms, seen and new classes, masks that CLIP has no say for."""
    init_default_scope('mmseg')
    tiny = tiny_fcclip(
        train_vocabulary=['sky', 'vehicle'], things=['car', 'tree'], ensemble_on_valid_mask=True, test_cfg=SETTINGS
    )
    found = MaskInferencer.from_model(tiny, STEPS)
    found.score = 0.0
    return found


@pytest.fixture(scope='module')
def runtime(model, tmp_path_factory):
    found = load(export(model, tmp_path_factory.mktemp('masks')))
    found.score = 0.0
    return found


def results(model, runtime, task, *call, **options):
    """What both say of a picture."""
    found = []
    for one in (model, runtime):
        one.set_task(task)
        found.append(one.segment(*call, **options))
    return found


@pytest.mark.parametrize('size', SIZES)
def test_labels_are_those_of_pytorch(model, runtime, size):
    wanted, found = results(model, runtime, 'semantic', picture(size), WORDS)
    assert (found.names, found.label_map.dtype) == (wanted.names, wanted.label_map.dtype)
    assert (found.label_map != wanted.label_map).mean() <= 1e-3
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-4)
    assert found.score_kind == wanted.score_kind == 'probability'


@pytest.mark.parametrize('merge_first', [True, False])
def test_masks_or_classes_are_resized_first(model, runtime, merge_first, monkeypatch):
    monkeypatch.setattr(model.model.tasks, 'merge_first', merge_first)
    rule = type(runtime._rule)(**{**vars(runtime._rule), 'merge_first': merge_first})
    monkeypatch.setattr(runtime, '_rule', rule)
    wanted, found = results(model, runtime, 'semantic', picture((120, 90)), WORDS, pixel_scores=True)
    assert (found.label_map != wanted.label_map).mean() <= 1e-3
    np.testing.assert_allclose(found.pixel_scores, wanted.pixel_scores, atol=1e-4)


@pytest.mark.parametrize('size', SIZES[:4])
def test_segments_are_those_of_pytorch(model, runtime, size):
    wanted, found = results(model, runtime, 'panoptic', picture(size), None)
    assert found.vocabulary == wanted.vocabulary
    assert [(s.title, s.is_thing) for s in found.segments] == [(s.title, s.is_thing) for s in wanted.segments]
    assert found.segments
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-4)
    assert (found.ids != wanted.ids).mean() <= 1e-3


@pytest.mark.parametrize('size', SIZES[1:4])
def test_instances_are_those_of_pytorch(model, runtime, size):
    wanted, found = results(model, runtime, 'instance', picture(size), WORDS, 'a red car; dog')
    assert sorted(found.labels) == sorted(wanted.labels)
    assert set(found.labels.tolist()) <= {2, 3}
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-4)
    assert found.masks.shape == wanted.masks.shape
    assert (found.masks.sum(axis=0) != wanted.masks.sum(axis=0)).mean() <= 1e-3


def test_countable_classes_are_those_of_the_config_for_its_own_words_alone(runtime):
    own = runtime.vocabulary
    assert runtime._flags(own, None) == (False, True, False, True)
    assert runtime._flags(own, 'none') == (False,) * 4
    vocabulary = type(own).of('sky; person')
    assert runtime._flags(vocabulary, None) == (False, True)
    runtime.set_things('sky')
    try:
        assert runtime._flags(own, None) == (True, False, False, False)
    finally:
        runtime.set_things(None)


def test_classes_that_are_left_out(model, runtime):
    wanted, found = results(model, runtime, 'semantic', picture((90, 80)), WORDS, min_area=0.3, min_confidence=0.01)
    assert found.left_out == wanted.left_out
    assert (found.label_map != wanted.label_map).mean() <= 1e-3


@pytest.mark.parametrize(
    ('call', 'says'),
    [
        (lambda r: r.set_task('boxes'), "task 'boxes' is unknown; choose from semantic"),
        (lambda r: r.set_things('zebra'), 'zebra'),
        (lambda r: r.segment(picture((9, 9)), {'classes': ['a'], 'background': 'threshold', 'threshold': 0.5}), 'no b'),
        (lambda r: r.segment(picture((9, 9)), WORDS, 'unicorn'), 'unicorn'),
        (lambda r: r.segment(picture((9, 9)), min_area=2), 'between 0 and 1'),
    ],
)
def test_what_cannot_be_is_refused(runtime, call, says):
    with pytest.raises(UserError, match=says):
        call(runtime)


def test_the_manifest_says_how_masks_become_results(runtime):
    content = json.loads((runtime.folder / 'manifest.json').read_text(encoding='utf-8'))
    assert content['masks']['seen'] == ['sky', 'vehicle']
    assert content['masks']['things'] == ['car', 'tree']
    assert content['picture']['whole'] == [32, 32]
    assert content['masks']['valid']


def test_what_int8_costs_is_told_by_the_labels(model, runtime, tmp_path):
    path = tmp_path / 'image.onnx'
    path.write_bytes((runtime.folder / 'image.onnx').read_bytes())
    Image.fromarray(picture((96, 128))).save(tmp_path / 'a.png')
    feeds = calibration_feeds(tmp_path, runtime.manifest.picture, runtime.class_embeddings(WORDS))
    cost = Lowered(path, 'int8', feeds).replace(path, FORMATS['onnx'], capability(model.model).way.graph(model.model))
    assert 'QuantizeLinear' in {node.op_type for node in onnx.load(path).graph.node}
    assert 0 <= cost['places that differ'] < 0.5
    assert '% of the labels differ' in cost_line(cost)


def test_a_resnet_cannot_be_a_graph():
    assert 'attention pool' in capability(tiny_fcclip(trunk='resnet')).reason
