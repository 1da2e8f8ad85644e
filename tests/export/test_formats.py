"""Formats of exports: what is missing, or cannot be read, is said."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from denseclip.apis.errors import UserError
from denseclip.cli.main import main
from denseclip.export import ExportError
from denseclip.export.formats import FORMATS, all_names
from denseclip.runtime.graphs import session

OPENVINO = FORMATS['openvino']


def graph(path, operator='Relu'):
    """A graph of one operator, free in all sides."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ['n', 'm']) for name in ('images', 'scores')]
    made = helper.make_graph([helper.make_node(operator, ['images'], ['scores'])], 'one', ends[:1], ends[1:])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid('', 18)], ir_version=10), path)
    return path


def test_a_graph_of_openvino_answers_as_onnxruntime_does(tmp_path):
    before = session(graph(tmp_path / 'a.onnx'))
    made = OPENVINO.finish(graph(tmp_path / 'image.onnx'))
    assert {file.name for file in OPENVINO.files(made)} == {'image.xml', 'image.bin'}
    found = session(made, 1)
    for size in ((1, 3), (4, 2)):
        feeds = {'images': np.random.default_rng(0).standard_normal(size).astype(np.float32)}
        for outputs in (None, ['scores']):
            np.testing.assert_array_equal(found.run(outputs, feeds)[0], before.run(outputs, feeds)[0])


@pytest.fixture
def processor(monkeypatch):
    """One that says what it can compute in, and what it was asked for; it computes in float32."""
    import openvino

    class Core(openvino.Core):
        """Writes down."""

        def get_property(self, *_):
            return said

        def compile_model(self, model, device, settings):
            asked.append(settings['INFERENCE_PRECISION_HINT'])
            return super().compile_model(model, device, {**settings, 'INFERENCE_PRECISION_HINT': 'f32'})

    said, asked = ['FP32', 'BF16'], []
    monkeypatch.setattr(openvino, 'Core', Core)
    return said, asked


def test_bfloat16_is_what_openvino_is_asked_for(tmp_path, processor):
    made = OPENVINO.finish(graph(tmp_path / 'image.onnx'))
    feeds = {'images': np.full((2, 3), -1.0, np.float32)}
    for precision in ('fp32', 'bf16'):
        np.testing.assert_array_equal(session(made, precision=precision).run(None, feeds)[0], np.zeros((2, 3)))
    assert processor[1] == ['f32', 'bf16']


def test_precisions_that_nothing_computes_in_are_said(tmp_path, processor):
    processor[0].remove('BF16')
    with pytest.raises(UserError, match='no instructions for bfloat16'):
        session(OPENVINO.finish(graph(tmp_path / 'image.onnx')), precision='bf16')
    for form in ('onnx', 'pt2'):
        with pytest.raises(UserError, match='run in float32: bf16 is for exports of --to openvino'):
            session(tmp_path / f'image.{form}', trust=True, precision='bf16')
    with pytest.raises(UserError, match="run in fp32 or bf16, not in 'fp16'"):
        session(tmp_path / 'image.xml', precision='fp16')
    assert processor[1] == []


def attention_of_free_length(path):
    """Self-attention of 4 heads in OpenVINO's own operators."""
    from openvino import Model, save_model
    from openvino import opset13 as op

    numbers = np.random.default_rng(0)
    x = op.parameter([-1, -1, 128], np.float32, name='tokens')
    heads = []
    for _ in range(3):
        weight = op.constant(numbers.standard_normal((128, 128)).astype(np.float32) / 11)
        shape, order = (op.constant(np.array(values)) for values in ([0, 0, 4, 32], [0, 2, 1, 3]))
        heads.append(op.transpose(op.reshape(op.matmul(x, weight, False, False), shape, True), order))
    weights = op.softmax(op.matmul(*heads[:2], False, True), 3)
    save_model(Model([op.matmul(weights, heads[2], False, False)], [x], 'attention'), path, compress_to_fp16=False)
    return path


def test_one_word_before_many_changes_nothing(tmp_path):
    """OpenVINO gives wrong numbers for every longer sequence after a first one of one token."""
    path = attention_of_free_length(tmp_path / 'attention.xml')
    one, many = (np.random.default_rng(k).standard_normal((1, k, 128)).astype(np.float32) for k in (1, 60))
    (wanted,) = session(path, 1).run(None, {'tokens': many})
    found = session(path, 1)
    assert found.run(None, {'tokens': one})[0].shape == (1, 4, 1, 32)
    np.testing.assert_allclose(found.run(None, {'tokens': many})[0], wanted, atol=1e-5)


def test_what_is_missing_is_said(tmp_path, monkeypatch, capsys):
    made = OPENVINO.finish(graph(tmp_path / 'image.onnx'))
    monkeypatch.setitem(sys.modules, 'openvino', None)
    with pytest.raises(ImportError, match=r'denseclip-suite\[openvino\]'):
        session(made)
    assert main(['export', '--to', 'openvino', '--out', str(tmp_path / 'out')]) != 0
    assert 'exporting needs openvino: pip install' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_what_cannot_be_read_or_converted_is_said(tmp_path):
    (tmp_path / 'image.xml').write_text('<no graph>')
    with pytest.raises(UserError, match=r"openvino cannot read '.*image.xml'"):
        session(tmp_path / 'image.xml')
    with pytest.raises(UserError, match='is no graph: one ends in .onnx, .xml, .pt2'):
        session(tmp_path / 'image.tflite')
    (tmp_path / 'broken.onnx').write_bytes(b'no graph')
    with pytest.raises(ExportError, match='cannot be converted to .xml'):
        OPENVINO.finish(tmp_path / 'broken.onnx')
    assert (tmp_path / 'broken.onnx').exists()


def test_files_of_every_format_are_known():
    assert {'image.onnx', 'image.xml', 'image.bin', 'image.pt2', 'tokenizer.json'} <= set(all_names())
