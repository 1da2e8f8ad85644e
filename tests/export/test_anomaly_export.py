"""Anomaly models exported: equal to PyTorch whole and in tiles, for any object, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from export_pictures import picture
from mmengine.registry import MODELS
from PIL import Image
from tiny_anomaly import PROMPTS, tiny_clip, tiny_model

import denseclip
from denseclip.apis.anomaly import AnomalyInferencer
from denseclip.apis.errors import UserError
from denseclip.cli.main import main
from denseclip.clip.anomaly_prompts import state_prompts
from denseclip.clip.loading import load_clip
from denseclip.export import ExportError, capability, export
from denseclip.export.checks import check_image_graph
from denseclip.export.formats import FORMATS
from denseclip.export.graphs import write_image_graph
from denseclip.export.precision import Lowered, cost_line
from denseclip.export.substitutes import ready_for_export
from denseclip.files.shipped import here_or_shipped
from denseclip.runtime import RuntimeModel, load

ROOT = Path(denseclip.__file__).parents[1]
SUBJECTS = [('metal nut', None, None), ('leather', 'texture', 'cut; hole'), ('nut', 'a photo; an old photo', ['rust'])]


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['WinCLIP', 'AprilGAN'])
def test_graphs_are_the_models_at_every_size(kind, tmp_path):
    settings = dict(layers=(1,)) if kind == 'AprilGAN' else dict(scales=(2,))
    model, path = tiny_model(kind, tiny_clip(layers=1), **settings), tmp_path / 'image.onnx'
    way = capability(model).way
    size = way.words(model).words().embed_dim, 2
    write_image_graph(way.graph(ready_for_export(model)), path, *size)
    assert check_image_graph(path, way.graph(model).eval(), *size) < 1e-4


def inferencer_around(model, subject=('metal nut', None, None)):
    found = AnomalyInferencer.__new__(AnomalyInferencer)
    found.model, found._subject = model, subject
    return found


@pytest.fixture(scope='module')
def model():
    """AnoVL on the first block of the CLIP of the miniworld, in tiles, with all views."""
    clip = load_clip(f'local-dir:{here_or_shipped("checkpoints/miniworld_clip")}')
    for tower in (clip.model.visual.transformer, clip.model.transformer):
        del tower.resblocks[1:]
    found = MODELS.build(dict(type='AnoVL', clip=clip, prompts=PROMPTS, tiles=True, keep_ratio=True)).eval()
    found.set_object('metal nut')
    return inferencer_around(found)


@pytest.fixture(scope='module')
def exported(model, tmp_path_factory):
    return export(model, tmp_path_factory.mktemp('anovl'))


@pytest.fixture(scope='module')
def runtime(exported):
    return load(exported)


@pytest.mark.slow
@pytest.mark.parametrize('size', [(64, 64), (120, 160), (77, 131), (300, 90), (65, 64), (1, 1), (30, 150)])
def test_maps_and_scores_are_those_of_pytorch(model, runtime, size):
    pixels, subject = picture(size), SUBJECTS[size[0] % 2]
    wanted, found = model.localize(pixels, *subject), runtime.localize(pixels, *subject)
    assert found.anomaly_map.shape == size
    assert found.anomaly_map.dtype == np.float32
    np.testing.assert_allclose(found.anomaly_map, wanted.anomaly_map, atol=1e-6)
    assert found.pred_score == pytest.approx(wanted.pred_score, abs=1e-6)


@pytest.mark.slow
def test_objects_belong_to_calls(model, exported, runtime):
    assert runtime.object_name == 'metal nut'
    pixels = picture((70, 80))
    own = runtime.localize(pixels).pred_score
    assert own == pytest.approx(model.localize(pixels).pred_score, abs=1e-6)
    assert runtime.localize(pixels, 'a zebra').pred_score != own
    assert runtime.localize(pixels).pred_score == own
    other = load(exported, 'a zebra')
    assert other.localize(pixels).pred_score == runtime.localize(pixels, 'a zebra').pred_score
    for subject in SUBJECTS:
        assert runtime._prompts_of(subject) == state_prompts(subject[0], model.model.prompts, *subject[1:])


@pytest.mark.slow
@pytest.mark.parametrize(
    ('call', 'says'),
    [
        (lambda r: r.localize(picture((9, 9)), domain='texture'), 'domain and defects go with object'),
        (lambda r: r.localize(picture((9, 9)), 3), 'named by words'),
        (lambda r: r.localize(picture((9, 9)), 'word ' * 90), 'tokens, and the model takes'),
        (lambda r: load(r.folder, ['nut', 'bolt']), 'takes one object in words'),
        (lambda r: RuntimeModel(r.folder), 'which finds defects; use: denseclip anomaly'),
    ],
)
def test_what_cannot_be_is_refused(runtime, call, says):
    with pytest.raises(UserError, match=says):
        call(runtime)
    with pytest.raises(ValueError, match="unknown domain 'kitchen'"):
        runtime.localize(picture((9, 9)), 'nut', 'kitchen')


WITHOUT_TORCH = """
import sys
absent = {'torch', 'torchvision', 'mmengine', 'mmcv', 'mmseg', 'mmdet', 'open_clip', 'timm', 'transformers', 'scipy'}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in absent:
            raise ModuleNotFoundError(f'no {name} here', name=name)
sys.meta_path.insert(0, Absent())
from denseclip.cli.main import main
code = main(sys.argv[1:])
print('brought:', sorted(absent & set(sys.modules)))
raise SystemExit(code)
"""


@pytest.mark.slow
def test_the_command_gives_the_same_inspection_where_there_is_no_torch(model, exported, tmp_path):
    shots = tmp_path / 'shots'
    for k in range(6):
        place = shots / ('normal' if k < 3 else 'scratch')
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture((60 + k, 80))).save(place / f'{k}.png')
    out = tmp_path / 'out'
    arguments = ['anomaly', shots, '--object', 'metal nut', '--defects', 'scratch', '--runtime', exported, '--out', out]
    done = subprocess.run(
        [sys.executable, '-c', WITHOUT_TORCH, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'brought: []' in done.stdout
    assert {'report.html', 'scores.csv', 'summary.json', 'heatmaps', 'masks'} <= {p.name for p in out.iterdir()}
    scores = {row.split(',')[0]: float(row.split(',')[2]) for row in (out / 'scores.csv').read_text().split()[1:]}
    assert len(scores) == 6
    for path, score in scores.items():
        assert score == pytest.approx(model.localize(path, 'metal nut', None, 'scratch').pred_score, abs=1e-6)
    assert json.loads((out / 'summary.json').read_text())['measures']['image_AUROC'] >= 0


@pytest.mark.slow
def test_the_commands_refuse_each_others_exports(exported, tmp_path, capsys):
    parts = tmp_path / 'parts'
    parts.mkdir()
    Image.fromarray(picture((20, 30))).save(parts / 'a.png')
    to = ['--runtime', str(exported), '--out', str(tmp_path / 'o')]
    assert main(['segment', str(parts / 'a.png'), *to, '--classes', 'road']) == 2
    assert 'use: denseclip anomaly' in capsys.readouterr().err
    assert main(['anomaly', str(parts), '--object', 'nut', *to, '--pretrained', 'openai']) == 2
    assert 'knows no --pretrained' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('change', 'options', 'says'),
    [
        (dict(adaptation={}), {}, 'AnoVL cannot be exported: it fits a layer to every picture'),
        ({}, dict(classes='road; sky'), 'asked for an object with every call; leave the classes out'),
        ({}, dict(precision='int8'), 'needs pictures to compare with'),
        ({}, dict(to='tflite'), "cannot export to 'tflite'"),
        ({}, {}, 'no tokenizer.json, which the runtime reads'),
    ],
)
def test_exports_that_cannot_be_say_why(change, options, says, tmp_path, monkeypatch):
    Image.fromarray(picture((9, 9))).save(tmp_path / 'a.png')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=says):
        export(inferencer_around(tiny_model(**change)), tmp_path / 'out', **options)
    assert not list(tmp_path.rglob('*.onnx'))


@pytest.mark.slow
def test_what_half_precision_costs_is_told_by_the_map(model, runtime, tmp_path):
    path = tmp_path / 'image.onnx'
    path.write_bytes((runtime.folder / 'image.onnx').read_bytes())
    tile = np.random.default_rng(0).standard_normal((1, 3, 240, 240)).astype(np.float32)
    feeds = [{'images': tile, 'text': runtime.states(('metal nut', None, None))}]
    cost = Lowered(path, 'fp16', feeds).replace(path, FORMATS['onnx'], capability(model.model).way.graph(model.model))
    assert cost['places that differ'] < 0.2
    assert 'places of a map' in cost_line(cost)
    assert cost['MB'][1] < 0.8 * cost['MB'][0]


def test_references_stay_with_the_model():
    model = tiny_model('WinCLIP')
    model.references = object()
    assert 'references of one object' in capability(model).reason
    with pytest.raises(ExportError):
        export(inferencer_around(model), 'nowhere')
