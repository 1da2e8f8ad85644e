"""The bundled model exported: equal to PyTorch, words free, without torch, in a sentence where it cannot be."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from export_pictures import picture
from PIL import Image

import denseclip
from denseclip.apis.errors import UserError
from denseclip.cli.main import main
from denseclip.clip.vocabulary import Vocabulary
from denseclip.export import ExportError, export
from denseclip.runtime import load

pytestmark = pytest.mark.slow
SIZES = [(360, 480), (321, 401), (97, 131), (500, 333), (64, 64), (33, 480), (1, 1), (3, 200), (720, 960)]
WORDS = ['sky', 'road; car = automobile, vehicle; sky', [f'thing {k}' for k in range(150)]]


ALLOWED = 1e-3
"""Share of pixels that may differ: rounding decides where two classes are alike."""


@pytest.fixture(scope='module')
def runtime(exported):
    return load(exported)


@pytest.mark.parametrize('size', SIZES)
def test_label_maps_are_those_of_pytorch_at_every_size(bundled, runtime, size):
    pixels = picture(size)
    wanted, found = bundled.segment(pixels, WORDS[1]), runtime.segment(pixels, WORDS[1])
    assert found.label_map.dtype == wanted.label_map.dtype
    assert found.label_map.shape == size
    assert (found.label_map != wanted.label_map).mean() <= ALLOWED


@pytest.mark.parametrize('words', WORDS, ids=['1', '3', '150'])
def test_words_are_free(bundled, runtime, words):
    pixels = picture((120, 90))
    wanted, found = bundled.segment(pixels, words), runtime.segment(pixels, words)
    assert found.names == wanted.names
    assert (found.label_map != wanted.label_map).mean() <= ALLOWED


def test_words_and_colours_of_its_own(bundled, runtime):
    pixels = picture((90, 120))
    wanted, found = bundled.segment(pixels, bundled.own_vocabulary, scores=False), runtime.segment(pixels)
    assert found.vocabulary == wanted.vocabulary
    np.testing.assert_array_equal(found.palette, wanted.palette)
    drawn = dataclasses.replace(wanted, label_map=found.label_map).overlay()
    np.testing.assert_array_equal(np.asarray(found.overlay()), np.asarray(drawn))


def test_a_background_with_words(bundled, runtime):
    words = {'classes': ['road', 'sky'], 'background': 'prompts', 'background_names': ['something else']}
    pixels = picture((90, 120))
    wanted, found = bundled.segment(pixels, words), runtime.segment(pixels, words)
    assert found.names == wanted.names == ('road', 'sky', 'background')
    assert (found.label_map != wanted.label_map).mean() <= ALLOWED


def same_scores(found, wanted):
    assert found.score_kind == wanted.score_kind
    np.testing.assert_allclose(found.scores, wanted.scores, atol=2e-3)
    assert (found.left_out, found.no_better_than_chance) == (wanted.left_out, wanted.no_better_than_chance)


@pytest.mark.parametrize('wishes', [{}, {'min_confidence': 0.3}, {'min_area': 0.2}, {'min_confidence': 1.0}])
def test_confidences_are_those_of_pytorch(bundled, runtime, wishes):
    pixels = picture((360, 480))
    wanted, found = (model.segment(pixels, 'road; sky; tree; zebra = horse', **wishes) for model in (bundled, runtime))
    assert found.score_kind == 'calibrated'
    same_scores(found, wanted)
    assert (found.label_map != wanted.label_map).mean() <= 1e-3


def test_probabilities_of_pixels(bundled, runtime):
    pixels = picture((90, 120))
    wanted, found = (model.segment(pixels, WORDS[1], pixel_scores=True) for model in (bundled, runtime))
    assert np.abs(found.pixel_scores - wanted.pixel_scores).mean() < 1e-3
    assert not runtime.segment(pixels, WORDS[1], scores=False).scores


@pytest.mark.parametrize(
    ('words', 'says'),
    [
        ({'classes': ['road'], 'background': 'threshold', 'threshold': 0.5}, 'no background policy "threshold"'),
        (['a ' * 600], 'tokens, and the model takes'),
    ],
)
def test_words_that_cannot_be_are_refused(runtime, words, says):
    with pytest.raises(UserError, match=says):
        runtime.segment(picture((20, 20)), words)


def test_it_runs_where_there_is_no_torch(exported, tmp_path):
    """Neither torch nor the host packages nor what they bring can be imported there."""
    Image.fromarray(picture((60, 80))).save(tmp_path / 'a.png')
    code = (
        'import sys\n'
        'absent = {"torch", "torchvision", "mmengine", "mmcv", "mmseg", "mmdet", "open_clip", "timm", "transformers"}\n'
        'class Absent:\n'
        '    def find_spec(self, name, path=None, target=None):\n'
        '        if name.partition(".")[0] in absent:\n'
        '            raise ModuleNotFoundError(f"no {name} here", name=name)\n'
        'sys.meta_path.insert(0, Absent())\n'
        'from denseclip.cli.main import main\n'
        'code = main(sys.argv[1:])\n'
        'print("brought:", sorted(absent & set(sys.modules)))\n'
        'raise SystemExit(code)\n'
    )
    root = Path(denseclip.__file__).parents[1]
    arguments = [
        'segment',
        tmp_path / 'a.png',
        '--runtime',
        exported,
        '--classes',
        'road; sky',
        '--out',
        tmp_path / 'o',
    ]
    done = subprocess.run(
        [sys.executable, '-c', code, *map(str, arguments), '--out', str(tmp_path / 'o')],
        capture_output=True,
        text=True,
        cwd=root,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'brought: []' in done.stdout
    assert {path.name for path in (tmp_path / 'o').iterdir()} == {'a_overlay.png', 'a_labels.png', 'a_areas.csv'}


def test_fixed_words_need_no_text_tower(bundled, exported, runtime, tmp_path, monkeypatch):
    """The graph of pictures is the one of free words: it is not made again here."""

    def same_graph(graph, path, *size):
        shutil.copy(exported / 'image.onnx', path)

    monkeypatch.setattr('denseclip.export.writing.write_image_graph', same_graph)
    words = bundled.vocabulary
    folder = export(bundled, tmp_path / 'fixed', classes='road; sky; tree')
    assert bundled.vocabulary == bundled.model.vocabulary == words
    names = {'image.onnx', 'embeddings.npz', 'unrelated.npz', 'manifest.json'}
    assert {path.name for path in folder.iterdir()} == names
    fixed, pixels = load(folder), picture((100, 140))
    np.testing.assert_array_equal(fixed.segment(pixels).label_map, runtime.segment(pixels, 'road; sky; tree').label_map)
    with pytest.raises(UserError, match=r'its own 3 classes only \(road, sky, tree\)'):
        fixed.segment(pixels, 'road; car')


@pytest.mark.parametrize('directly', [True, False])
def test_the_model_keeps_its_words_when_an_export_with_others_fails(bundled, tmp_path, monkeypatch, directly):
    told = []

    def fails(*_):
        told.append(bundled.model.vocabulary.names)
        raise ExportError('no')

    monkeypatch.setattr('denseclip.export.writing.write_image_graph', fails)
    own = bundled.vocabulary
    try:
        words = Vocabulary.of('door; window')
        (bundled.model if directly else bundled).set_vocabulary(words)
        with pytest.raises(ExportError):
            export(bundled, tmp_path / 'fixed', classes='road; sky; tree')
        assert bundled.model.vocabulary == bundled.vocabulary == words and told == [('road', 'sky', 'tree')]
        assert bundled.segment(picture((40, 50))).names == words.names
    finally:
        bundled.set_vocabulary(own)


def test_the_manifest_says_what_was_done(exported):
    content = json.loads((exported / 'manifest.json').read_text(encoding='utf-8'))
    assert set(content['files']) == {'image', 'text', 'tokenizer', 'unrelated'} == set(content['sha256'])
    assert content['picture']['resize'] == [480, 360]
    assert max(content['checked'].values()) < 1e-4
    assert {'denseclip', 'torch', 'onnx', 'onnxruntime', 'opset'} <= set(content['versions'])
    weights = Path(__file__).parents[2] / 'checkpoints' / content['provenance']['source']
    assert content['provenance']['source_sha256'] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert content['provenance'].keys() == {'denseclip', 'written', 'source', 'source_sha256', 'config'}


def test_an_earlier_export_is_kept(bundled, exported):
    before = (exported / 'manifest.json').read_bytes()
    with pytest.raises(UserError, match='holds earlier results'):
        export(bundled, exported)
    assert (exported / 'manifest.json').read_bytes() == before


def test_a_format_that_is_unknown_is_refused(bundled, tmp_path):
    with pytest.raises(UserError, match="cannot export to 'tflite'; choose from onnx"):
        export(bundled, tmp_path / 'x', to='tflite')


def test_a_pipeline_that_the_runtime_cannot_follow_is_refused(bundled, tmp_path):
    steps = [{'type': 'Resize', 'scale': (64, 64)}, {'type': 'Albu', 'transforms': []}]
    other = bundled.__class__.__new__(bundled.__class__)
    other.__dict__.update({**bundled.__dict__, 'steps': steps})
    with pytest.raises(ExportError, match="no counterpart of the test pipeline's 'Albu'"):
        export(other, tmp_path / 'x')
    assert not list((tmp_path / 'x').iterdir())


@pytest.mark.parametrize('option', [['--preset', 'sclip'], ['--device', 'cpu'], ['--score', '0.5']])
def test_options_of_other_models_do_not_go_with_an_export(exported, tmp_path, capsys, option):
    Image.fromarray(picture((20, 30))).save(tmp_path / 'a.png')
    words = ['--classes', 'road; sky']
    code = main(
        ['segment', str(tmp_path / 'a.png'), '--runtime', str(exported), *words, *option, '--out', str(tmp_path)]
    )
    assert code == 2
    assert option[0] in capsys.readouterr().err
