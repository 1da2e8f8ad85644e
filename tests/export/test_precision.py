"""A graph in fewer bits: smaller, nearly the same labels, and what it costs is said."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from denseclip.apis.errors import UserError
from denseclip.export import ExportError
from denseclip.export.formats import FORMATS
from denseclip.export.image_graphs import ImageGraph
from denseclip.export.precision import Lowered, calibration_feeds, check_precision, cost_line
from denseclip.runtime.graphs import session
from denseclip.runtime.manifest import Picture

STEPS = Picture((40, 30), True, 2048, True, (127.0,) * 3, (50.0,) * 3)


def graph(path, layers=3, channels=48):
    """A stack of convolutions, scored by class embeddings."""
    rng = np.random.default_rng(0)
    nodes, weights, last, size = [], [], 'images', 3
    for k in range(layers):
        values = rng.standard_normal((channels, size, 3, 3)).astype(np.float32) / (3 * size**0.5)
        weights.append(numpy_helper.from_array(values, f'w{k}'))
        nodes.append(helper.make_node('Conv', [last, f'w{k}'], [f'c{k}'], name=f'conv{k}', pads=[1] * 4))
        nodes.append(helper.make_node('Relu', [f'c{k}'], [f'r{k}'], name=f'relu{k}'))
        last, size = f'r{k}', channels
    nodes.append(helper.make_node('Einsum', [last, 'text'], ['scores'], name='compare', equation='nchw,kc->nkhw'))
    free = helper.make_tensor_value_info
    made = helper.make_graph(
        nodes,
        'small',
        [
            free('images', TensorProto.FLOAT, ['n', 3, 'h', 'w']),
            free('text', TensorProto.FLOAT, ['k', channels]),
        ],
        [free('scores', TensorProto.FLOAT, ['n', 'k', 'h', 'w'])],
        weights,
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid('', 18)], ir_version=10), path)
    return path


def lower(path, precision, feeds, form='onnx'):
    lowered = Lowered(path, precision, feeds)
    return lowered.replace(FORMATS[form].finish(path), FORMATS[form], ImageGraph(None))


@pytest.fixture
def feeds(tmp_path):
    rng = np.random.default_rng(1)
    folder = tmp_path / 'pictures'
    folder.mkdir()
    for k in range(3):
        coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        coarse.resize((50, 36)).save(folder / f'{k}.png')
    return calibration_feeds(folder, STEPS, rng.standard_normal((4, 48)).astype(np.float32))


def test_feeds_are_what_the_runtime_makes_of_pictures(feeds):
    assert [feed['images'].shape for feed in feeds] == [(1, 3, 29, 40)] * 3
    assert all(feed['text'].shape == (4, 48) for feed in feeds)


@pytest.mark.parametrize(('precision', 'part'), [('fp16', 0.6), ('int8', 0.5)])
def test_a_lower_precision_is_smaller_and_nearly_the_same(precision, part, feeds, tmp_path):
    path = graph(tmp_path / 'image.onnx')
    before = session(path).run(None, feeds[0])[0]
    size = path.stat().st_size
    cost = lower(path, precision, feeds)
    after = session(path).run(None, feeds[0])[0]
    assert path.stat().st_size < part * size
    assert 0 < np.abs(after - before).max() < 0.1 * np.abs(before).max()
    assert cost['places that differ'] < 0.1
    assert f'{precision}: ' in cost_line(cost)
    assert session(path).run(None, {**feeds[0], 'images': np.zeros((2, 3, 17, 9), np.float32)})[0].shape[0] == 2


@pytest.mark.parametrize('precision', ['fp16', 'int8'])
def test_openvino_runs_the_same(precision, feeds, tmp_path):
    own = graph(tmp_path / 'own.onnx')
    lower(own, precision, feeds)
    cost = lower(graph(tmp_path / 'image.onnx'), precision, feeds, 'openvino')
    assert cost['places that differ'] < 0.1
    assert sorted(file.name for file in tmp_path.glob('*.*')) == ['image.bin', 'image.xml', 'own.onnx']
    found, wanted = (session(path, 1).run(['scores'], feeds[0])[0] for path in (tmp_path / 'image.xml', own))
    assert np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()


def test_the_first_layer_stays_in_float32(feeds, tmp_path):
    path = graph(tmp_path / 'image.onnx')
    lower(path, 'int8', feeds)
    kinds = [node.op_type for node in onnx.load(path).graph.node]
    first = next(node for node in onnx.load(path).graph.node if node.name == 'conv0')
    assert 'QuantizeLinear' in kinds
    assert first.input[1] == 'w0'


def test_graphs_without_convolutions_are_refused(feeds, tmp_path):
    path = graph(tmp_path / 'image.onnx', layers=0, channels=3)
    content = path.read_bytes()
    with pytest.raises(ExportError, match='in int8: it has no convolutions'):
        lower(path, 'int8', feeds)
    assert path.read_bytes() == content


def test_what_does_not_go_together_is_refused(tmp_path):
    with pytest.raises(ExportError, match='needs pictures'):
        check_precision('int8', None)
    with pytest.raises(ExportError, match='needs no --calibrate'):
        check_precision('fp32', tmp_path)
    with pytest.raises(ExportError, match="called 'int4'"):
        check_precision('int4', tmp_path)
    with pytest.raises(ExportError, match='cannot lower --to torch: choose --to onnx or openvino'):
        check_precision('fp16', tmp_path, 'torch')
    with pytest.raises(UserError):
        calibration_feeds(tmp_path, STEPS, None)
