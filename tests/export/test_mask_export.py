"""A query-based model exported: labels, segments and instances of PyTorch, words free, without torch."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch
from export_pictures import picture
from PIL import Image
from tiny_fcclip import TRUNKS, tiny_fcclip

from denseclip.apis.errors import UserError
from denseclip.export import capability
from denseclip.export.checks import check_image_graph
from denseclip.export.formats import FORMATS
from denseclip.export.graphs import write_image_graph
from denseclip.export.mask_graphs import MaskGraph
from denseclip.export.precision import Lowered, calibration_feeds, cost_line
from denseclip.export.substitutes import ready_for_export

pytestmark = pytest.mark.slow
SIZES = [(64, 96), (97, 131), (200, 90), (33, 257), (12, 9), (240, 321), (20, 400)]
WORDS = 'grass; sky = heaven, cloud; a red car; dog'


@pytest.fixture
def model(masks):
    return masks


@pytest.fixture
def runtime(exported_masks):
    return exported_masks


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


@pytest.mark.parametrize('wish', [{'min_area': 0.3}, {'min_confidence': 1.0}])
def test_classes_left_out_leave_the_same_scores_of_pixels(model, runtime, wish):
    wanted, found = results(model, runtime, 'semantic', picture((120, 90)), WORDS, pixel_scores=True, **wish)
    assert found.left_out == wanted.left_out and found.left_out
    np.testing.assert_allclose(found.pixel_scores, wanted.pixel_scores, atol=1e-4)
    assert not found.pixel_scores[[name in found.left_out for name in found.vocabulary.names]].any()


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


def test_masks_follow_the_words(runtime):
    """Queries that listen: the classes of a call are an input of the graph."""
    images = np.random.default_rng(0).standard_normal((1, 3, 64, 96)).astype(np.float32)
    text = runtime.class_embeddings('sky; tree')
    one, other = (
        runtime.model.run(['masks'], {'images': images, 'text': text, 'prompts': prompts})[0]
        for prompts in (text[:1], text)
    )
    assert np.abs(one - other).max() > 1e-2


def test_what_int8_costs_is_told_by_the_labels(model, runtime, tmp_path):
    path, graph, feeds = to_lower(model, runtime, tmp_path)
    cost = Lowered(path, 'int8', feeds).replace(path, FORMATS['onnx'], graph)
    assert 'QuantizeLinear' in {node.op_type for node in onnx.load(path).graph.node}
    assert 0 <= cost['places that differ'] < 0.5
    assert '% of the labels differ' in cost_line(cost)


@pytest.mark.parametrize('precision', ['fp16', 'int8'])
def test_openvino_runs_queries_that_listen(model, runtime, tmp_path, precision):
    form = FORMATS['openvino']
    path, graph, feeds = to_lower(model, runtime, tmp_path)
    lowered, made = Lowered(path, precision, feeds), form.finish(path)
    assert check_image_graph(made, graph.eval(), runtime.manifest.words.embed_dim, None) < 1e-3
    cost = lowered.replace(made, form, graph)
    assert 0 <= cost['places that differ'] < 0.5
    assert cost['MB'][1] < cost['MB'][0]


def test_half_precision_of_queries_that_listen(model, runtime, tmp_path):
    path, graph, feeds = to_lower(model, runtime, tmp_path)
    cost = Lowered(path, 'fp16', feeds).replace(path, FORMATS['onnx'], graph)
    assert 0 <= cost['places that differ'] < 0.02
    assert cost['MB'][1] < cost['MB'][0]


def to_lower(model, runtime, folder):
    """A copy of the graph, what it is made of, and a picture to calibrate it with."""
    path = folder / 'image.onnx'
    path.write_bytes((runtime.folder / 'image.onnx').read_bytes())
    Image.fromarray(picture((96, 128))).save(folder / 'a.png')
    graph = capability(model.model).way.graph(model.model)
    return path, graph, calibration_feeds(folder, runtime.manifest.picture, runtime.class_embeddings(WORDS), graph)


class Trunk(MaskGraph):
    """A trunk and what it says of masks; the mask generator is the same on all of them, and takes its time."""

    def __init__(self, model) -> None:
        super().__init__(model)
        self.outputs = ('fine', 'coarse', 'clip')

    def forward(self, images, text):
        features = self.model.backbone(images)
        rows, names = torch.cat([text, text[:1]]), torch.ones_like(text[:, 0], dtype=torch.long)
        clip = self.model.logits_of_masks(features, features.stages[0][:, :3], rows, names)
        return features.stages[0], features.stages[-1], clip


@pytest.mark.parametrize('trunk', ['resnet', 'vit'])
def test_graphs_of_other_trunks(trunk, tmp_path, monkeypatch):
    if trunk == 'vit':  # what reads it is its last block
        monkeypatch.setitem(TRUNKS[trunk]['arch']['vision_cfg'], 'layers', 1)
    tiny, path = tiny_fcclip(trunk=trunk), tmp_path / 'image.onnx'
    assert capability(tiny).exportable
    write_image_graph(Trunk(ready_for_export(tiny)), path, 16, None)
    assert check_image_graph(path, Trunk(tiny).eval(), 16, None) < 1e-4
