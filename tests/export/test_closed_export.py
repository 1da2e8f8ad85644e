"""A model of MMSegmentation, whose classes are part of its weights, exported: labels and confidences of PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from export_pictures import picture
from mmseg.models import SegDataPreProcessor
from PIL import Image
from tiny_models import tiny_baseline

from denseclip.apis.errors import UserError
from denseclip.apis.inferencer import Inferencer
from denseclip.cli.main import main
from denseclip.export import ExportError, capability, export
from denseclip.runtime import load

pytestmark = pytest.mark.slow
STEPS = [dict(type='Resize', scale=(160, 96), keep_ratio=True), dict(type='PackSegInputs')]


@pytest.fixture(scope='module')
def model():
    found = tiny_baseline('any')
    found.data_preprocessor = SegDataPreProcessor(
        [120.0] * 3, [60.0] * 3, bgr_to_rgb=True, test_cfg=dict(size_divisor=32)
    )
    names = [f'kind {k}' for k in range(found.decode_head.num_classes)]
    return Inferencer.from_model(found, STEPS, {'classes': names})


@pytest.fixture(scope='module')
def runtime(model, tmp_path_factory):
    return load(export(model, tmp_path_factory.mktemp('closed')))


@pytest.mark.parametrize('size', [(64, 96), (97, 131), (33, 257), (12, 9), (240, 321), (20, 400)])
def test_labels_and_confidences_are_those_of_pytorch(model, runtime, size):
    wanted, found = (one.segment(picture(size), min_area=0.1) for one in (model, runtime))
    assert (found.names, found.score_kind, found.left_out) == (wanted.names, wanted.score_kind, wanted.left_out)
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-5)
    assert (found.label_map != wanted.label_map).mean() <= 1e-3
    np.testing.assert_array_equal(found.palette, wanted.palette)


def test_words_are_refused(model, runtime, tmp_path):
    assert set(runtime.manifest.files) == {'image'}
    with pytest.raises(UserError, match='its own .* classes only'):
        runtime.segment(picture((9, 9)), 'sky; road')
    with pytest.raises(ExportError, match='part of its weights'):
        export(model, tmp_path / 'x', classes='sky; road')


def test_a_program_of_pytorch_gives_the_same(model, runtime, tmp_path, capsys):
    folder = export(model, tmp_path / 'program', 'torch')
    assert {file.name for file in folder.iterdir()} == {'image.pt2', 'manifest.json'}
    with pytest.raises(UserError, match='say so with --trust'):
        load(folder)
    other = load(folder, trust=True)
    for size in ((97, 131), (12, 9)):
        wanted, found = (one.segment(picture(size)) for one in (model, other))
        np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-5)
        assert (found.label_map != wanted.label_map).mean() <= 1e-3
    Image.fromarray(picture((60, 90))).save(tmp_path / 'a.png')
    call = ['segment', str(tmp_path / 'a.png'), '--out', str(tmp_path / 'out'), '--runtime']
    for given, says in (([str(folder)], 'say so with --trust'), ([str(runtime.folder), '--trust'], 'no --trust')):
        assert main([*call, *given]) == 2
        assert says in capsys.readouterr().err
    assert main([*call, str(folder), '--trust']) == 0
    with (folder / 'image.pt2').open('ab') as file:
        file.write(b'more')
    with pytest.raises(UserError, match='its sha256 differs'):
        load(folder, trust=True)


def test_heads_that_label_in_a_way_of_their_own_are_refused(model, monkeypatch):
    head = type(model.model.decode_head)
    monkeypatch.setattr(head, 'predict', lambda self, *inputs: None, raising=False)
    assert 'in a way of its own' in capability(model.model).reason
