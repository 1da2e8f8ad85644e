"""What an export consists of."""

import onnxruntime
import pytest
import torch
from torch import nn
from torch.onnx._internal.exporter import _onnx_program

from denseclip.export.formats import FORMATS
from denseclip.export.graphs import write_text_graph
from denseclip.export.writing import SegmentorWriting
from denseclip.runtime.manifest import file_sum


class Rows(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(20, 400)

    def forward(self, tokens):
        return self.words(tokens).mean(dim=1)


@pytest.mark.slow
def test_weights_that_lie_beside_a_large_graph_go_along(tmp_path, monkeypatch):
    """PyTorch writes those of more than 1.5 GB so."""
    monkeypatch.setattr(_onnx_program, '_LARGE_MODEL_THRESHOLD', 0)
    graph, tokens = Rows(), torch.ones(2, 5, dtype=torch.long)
    writing = SegmentorWriting.__new__(SegmentorWriting)
    writing.folder, writing.parts, writing.model, writing.words = tmp_path, [], graph, None
    writing.checked, writing.lowered, writing.inferencer = {}, None, None
    write_text_graph(graph, writing.part('text'), tokens)
    manifest = writing.manifest(None, vocabulary=None, palette=())
    assert manifest.files == {'text': 'text.onnx', 'text_weights': 'text.onnx.data'}
    assert (
        {path.name for path in tmp_path.iterdir()}
        == set(manifest.files.values())
        <= set(FORMATS['onnx'].names.values())
    )
    assert manifest.sha256['text_weights'] == file_sum(tmp_path / 'text.onnx.data')
    moved = tmp_path / 'elsewhere'
    moved.mkdir()
    for name in manifest.files.values():
        (tmp_path / name).rename(moved / name)
    found = onnxruntime.InferenceSession(moved / 'text.onnx').run(None, {'tokens': tokens.numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(found), graph(tokens).detach())
