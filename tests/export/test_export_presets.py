"""A training-free method from words to labels without PyTorch: windows, padding, names, backgrounds, confidences."""

from __future__ import annotations

import numpy as np
import pytest
from export_pictures import picture
from PIL import Image

from denseclip.apis.errors import UserError
from denseclip.apis.inferencer import Inferencer
from denseclip.cli.main import main
from denseclip.export import export
from denseclip.files.shipped import here_or_shipped
from denseclip.runtime import load

pytestmark = pytest.mark.slow
WORDS = 'red star; sand; blue bar = azure stick, bar'
BACKGROUNDS = {
    'none': {'background': 'none'},
    'prompts': {'background': 'prompts', 'background_names': ['grass', 'something else']},
    'threshold': {'background': 'threshold', 'threshold': 0.6},
}


@pytest.fixture(scope='module')
def model():
    """SCLIP on the CLIP of the miniworld: cosines, a row for each name, small windows."""
    clip = f'local-dir:{here_or_shipped("checkpoints/miniworld_clip")}'
    found = Inferencer.from_preset('sclip', WORDS, clip, device='cpu')
    found.model.test_cfg.update(crop_size=(100, 100), stride=(60, 60))
    found.steps[0]['scale'] = (300, 120)
    return Inferencer.from_model(found.model, list(found.steps))


@pytest.fixture(scope='module')
def runtime(model, tmp_path_factory):
    return load(export(model, tmp_path_factory.mktemp('preset'), own_words=False))


@pytest.mark.parametrize('policy', BACKGROUNDS)
@pytest.mark.parametrize('size', [(120, 160), (77, 131), (300, 90)])
def test_labels_and_confidences_are_those_of_pytorch(model, runtime, size, policy):
    words = {'classes': {'red star': [], 'sand': [], 'blue bar': ['azure stick', 'bar']}, **BACKGROUNDS[policy]}
    pixels = picture(size)
    wanted, found = model.segment(pixels, words), runtime.segment(pixels, words)
    assert (found.names, found.score_kind) == (wanted.names, wanted.score_kind)
    np.testing.assert_allclose(found.scores, wanted.scores, atol=2e-2)
    assert (found.label_map != wanted.label_map).mean() < 1e-2


@pytest.mark.parametrize('wish', [{'min_area': 0.3}, {'min_area': 1e-9}, {'min_confidence': 1.0}])
def test_classes_left_out_leave_the_same_scores_of_pixels(model, runtime, wish):
    wanted, found = (one.segment(picture((77, 131)), WORDS, pixel_scores=True, **wish) for one in (model, runtime))
    assert found.left_out == wanted.left_out
    np.testing.assert_allclose(found.pixel_scores, wanted.pixel_scores, atol=1e-3)


def test_openvino_gives_the_same(model, runtime, tmp_path, monkeypatch):
    """Converted from the graphs at hand, which take long to make; compared and written as ever."""
    for part in ('image', 'text'):
        file = runtime.folder / f'{part}.onnx'

        def write(graph, path, *more, file=file):
            path.write_bytes(file.read_bytes())

        monkeypatch.setattr(f'denseclip.export.writing.write_{part}_graph', write)
    folder = export(model, tmp_path / 'out', 'openvino', own_words=False)
    names = {file.name for file in folder.iterdir()}
    assert {'image.xml', 'image.bin', 'text.xml', 'text.bin', 'manifest.json'} <= names
    assert not any(name.endswith('.onnx') for name in names)
    other = load(folder, threads=1)
    assert set(other.manifest.versions) >= {'openvino'}
    for size in ((120, 160), (77, 131)):
        wanted, found = (one.segment(picture(size), WORDS) for one in (model, other))
        np.testing.assert_allclose(found.scores, wanted.scores, atol=2e-2)
        assert (found.label_map != wanted.label_map).mean() < 1e-2
    again = export(model, folder, own_words=False, force=True)
    assert not {file.name for file in again.iterdir()} & {'image.xml', 'image.bin', 'text.xml', 'text.bin'}


def test_calls_without_words_are_refused(runtime, tmp_path, capsys):
    with pytest.raises(UserError, match='brings no classes of its own'):
        runtime.segment(picture((30, 40)))
    Image.fromarray(picture((30, 40))).save(tmp_path / 'a.png')
    folder = runtime.folder
    assert main(['segment', str(tmp_path / 'a.png'), '--runtime', str(folder), '--out', str(tmp_path / 'out')]) == 2
    assert 'give some (--classes)' in capsys.readouterr().err


def test_probabilities_of_merged_names(model, runtime):
    """The same graph, its cosines taken for what MaskCLIP's read-out gives, is another model: kinds are not mixed."""
    assert runtime.manifest.scores.kind == model.model.output == 'cosines'
    assert runtime.manifest.words.merge == 'max'
    assert runtime.class_embeddings(WORDS).shape[0] == 5
