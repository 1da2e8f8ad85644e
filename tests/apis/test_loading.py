"""Every kind of name that ``load_model`` takes, what it refuses, and that commands give what Python gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bright_spots import CONFIG as SPOTS
from mmengine.config import Config
from PIL import Image
from tiny_detectors import detector_config, tiny_detector
from tiny_open_vocab import ARCH, tiny_open_vocab
from tiny_pmp_hosts import FCCLIP

import denseclip
from denseclip.apis import loading
from denseclip.apis.anomaly import AnomalyInferencer
from denseclip.apis.detector import Detector
from denseclip.apis.errors import UserError
from denseclip.apis.inferencer import Inferencer
from denseclip.apis.loading import forget_shared_model, load_model
from denseclip.apis.mask_inferencer import MaskInferencer
from denseclip.cli.main import main
from denseclip.models.builder import build_module
from denseclip.weights import write_safetensors

ROOT = Path(__file__).parents[2]
FCCLIP_STEPS = [
    dict(type='LoadImageFromFile'),
    dict(type='PillowResizeShortSide', short_side=64, max_long_side=128),
    dict(type='PackPanopticInputs'),
]
DETECTOR_STEPS = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(128, 96), keep_ratio=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    """A small CLIP in a folder."""
    folder = tmp_path_factory.mktemp('clip')
    config = {**ARCH, 'text_cfg': {**ARCH['text_cfg'], 'vocab_size': 49408, 'context_length': 77}}
    (folder / 'open_clip_config.json').write_text(json.dumps({'model_cfg': config, 'preprocess_cfg': {}}))
    model = tiny_open_vocab('maskclip')
    write_safetensors(model.parts.clip.model.state_dict(), folder / 'open_clip_model.safetensors')
    return f'local-dir:{folder}'


@pytest.fixture(scope='module')
def fcclip(tmp_path_factory):
    """Config and weights of a small query-based model."""
    folder = tmp_path_factory.mktemp('fcclip')
    torch.manual_seed(0)
    write_safetensors(build_module(FCCLIP).state_dict(), folder / 'model.safetensors')
    Config(dict(default_scope='mmseg', model=FCCLIP, test_pipeline=FCCLIP_STEPS)).dump(folder / 'model.py')
    return folder / 'model.py', folder / 'model.safetensors'


@pytest.fixture(scope='module')
def detector(tmp_path_factory):
    """Config and weights of a small detector."""
    folder = tmp_path_factory.mktemp('detector')
    torch.manual_seed(0)
    preprocessor = dict(type='DetDataPreprocessor', bgr_to_rgb=True, pad_size_divisor=32)
    model = detector_config('retinanet', data_preprocessor=preprocessor)
    Config(dict(default_scope='mmdet', model=model, test_pipeline=DETECTOR_STEPS)).dump(folder / 'model.py')
    write_safetensors(tiny_detector('retinanet').state_dict(), folder / 'model.safetensors')
    return folder / 'model.py', folder / 'model.safetensors'


@pytest.fixture
def spots(tmp_path):
    """Config of an anomaly model without weights."""
    (tmp_path / 'spots.json').write_text(json.dumps(SPOTS))
    return tmp_path / 'spots.json'


@pytest.fixture
def shots(tmp_path):
    """A folder with pictures of two sizes."""
    folder = tmp_path / 'shots'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, size in (('a', (40, 60)), ('b', (40, 60)), ('c', (60, 40))):
        coarse = Image.fromarray(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8))
        coarse.resize(size[::-1], Image.Resampling.BICUBIC).save(folder / f'{name}.png')
    return folder


def test_every_kind_of_name(model_files, fcclip, detector, spots, clip, monkeypatch):
    config, weights = model_files
    monkeypatch.setattr('denseclip.apis.inferencer.default_model', lambda: model_files)
    for kind, task, names, options in (
        (Inferencer, 'semantic', [None], {}),
        (Inferencer, 'semantic', [config, str(config), Config.fromfile(config)], dict(weights=weights)),
        (Inferencer, 'semantic', [None], dict(config=config, weights=weights)),
        (Inferencer, 'semantic', ['naclip'], dict(clip=clip, words='road; sky')),
        (Inferencer, 'semantic', ['ovseg'], dict(clip=clip, words='road; sky', masks='superpixels')),
        (MaskInferencer, 'panoptic', [fcclip[0]], dict(weights=fcclip[1], task='panoptic')),
        (MaskInferencer, 'semantic', ['fcclip', 'maft'], dict(config=fcclip[0], weights=fcclip[1])),
        (Detector, 'instance', [detector[0]], dict(weights=detector[1])),
        (AnomalyInferencer, 'anomaly', [spots, dict(SPOTS)], dict(words='metal nut')),
        (AnomalyInferencer, 'anomaly', ['anovl', 'winclip'], dict(clip=clip, words='metal nut')),
    ):
        for name in names:
            model = load_model(name, device='cpu', **options)
            assert type(model) is kind and model.task == task and model.precision == 'fp32'
            if 'words' in options and kind is Inferencer:
                assert model.vocabulary.names == ('road', 'sky')
            if kind is AnomalyInferencer:
                assert model.object_name == 'metal nut'


def test_a_bundled_model_of_the_zoo_works_from_everywhere(shots, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    model = load_model('dinoiser_vit-xs8_1k_miniworld-64x64', words='star; sky', device='cpu')
    assert model(shots / 'a.png').names == ('star', 'sky')


def test_a_config_of_the_package_is_found_from_everywhere(monkeypatch, tmp_path, shots):
    monkeypatch.chdir(tmp_path)
    model = load_model('configs/anovl/anovl-tfa_vit-xs8_miniworld-64x64.py', words='star', device='cpu')
    assert model(shots / 'a.png').anomaly_map.shape == (40, 60)


def test_what_does_not_go_together_is_one_sentence(model_files, fcclip, detector, spots, clip):
    config, weights = model_files
    for name, options, said in (
        ('naclipp', {}, "did you mean 'naclip'"),
        ('no such thing at all', {}, 'denseclip models'),
        ('gone.py', {}, 'does not exist'),
        (config, dict(config=config), 'two configs'),
        ('dinoiser', dict(words='a; b'), r'leave its name out .* give --config configs/dinoiser/.*\.py'),
        ('dinoiser', dict(words='a; b', weights='last.pt'), 'leave its name out'),
        (None, dict(clip=clip), 'go with a preset'),
        (None, dict(task='panoptic'), '--method'),
        (None, dict(masks='superpixels'), 'ovseg'),
        (None, dict(selection='all'), 'selection go with'),
        (None, dict(precision='fp8'), 'fp32, bf16'),
        (None, dict(score=2), 'between 0 and 1'),
        ('naclip', {}, 'brings no classes'),
        ('naclip', dict(weights=weights, words='a'), 'leave --config'),
        ('naclip', dict(task='panoptic', words='a'), 'semantic results only'),
        ('naclip', dict(things='all', words='a'), 'semantic results only'),
        ('proxyclip', dict(words='a'), 'affinity'),
        ('ovseg', dict(task='panoptic'), 'semantic results only'),
        ('fcclip', {}, '--weights'),
        ('fcclip', dict(weights=weights, clip=clip), 'leave --clip'),
        ('april-gan', dict(words='nut'), '--weights'),
        ('denseclip_fpn_clip-r50_80k_ade20k-512x512', {}, 'https://'),
        ('denseclip_fpn_clip-r50_80k_ade20k-512x512', dict(config=config), 'config of its own'),
        (config, dict(weights=weights, clip=clip), 'the config says which CLIP'),
        (config, dict(weights=weights, task='panoptic'), 'semantic results only'),
        (fcclip[0], dict(weights=fcclip[1], task='boxes'), "no task is called 'boxes'"),
        (detector[0], dict(weights=detector[1], words='a; b'), 'training'),
        (detector[0], dict(weights=detector[1], task='panoptic'), 'finds objects'),
        (spots, dict(task='semantic'), 'finds anomalies'),
        (spots, dict(things='all'), 'no things'),
    ):
        with pytest.raises(ValueError, match=said):
            load_model(name, device='cpu', **options)


def test_a_model_is_called_with_a_picture_a_list_or_a_folder(model_files, shots):
    model = load_model(model_files[0], weights=model_files[1], device='cpu')
    paths = sorted(shots.iterdir())
    one_by_one = [model(path) for path in paths]
    for several in (model(paths), model(shots), model(str(shots / '*.png')), list(model.stream(shots))):
        assert [result.source for result in several] == paths
        for result, alone in zip(several, one_by_one, strict=True):
            assert (result.label_map == alone.label_map).mean() > 0.999
    assert model(paths[0], 'temple; sky').names == ('temple', 'sky')
    (shots / 'broken.png').write_bytes(b'')
    failures: list[Any] = []
    assert len(list(model.stream([shots], failures=failures))) == 3 and len(failures) == 1
    with pytest.raises(UserError, match='broken.png'):
        model(shots)
    with pytest.raises(UserError, match='no file matches'):
        model(str(shots / '*.tif'))


@pytest.mark.parametrize('precision', ['fp32', 'bf16', 'int8-dynamic'])
def test_precision(model_files, fcclip, detector, spots, clip, shots, precision):
    """Every kind of model runs in it and gives results of the usual types, close to those of full precision."""
    transformers: list[tuple[str, dict[str, Any]]] = [
        ('naclip', dict(clip=clip, words='road; sky')),
        ('anovl', dict(clip=clip, words='metal nut')),
    ]
    others: list[tuple[str, dict[str, Any]]] = [
        (model_files[0], dict(weights=model_files[1])),
        (fcclip[0], dict(weights=fcclip[1], task='instance', score=0.0)),
        (detector[0], dict(weights=detector[1], score=0.0)),
    ]
    for name, options in transformers + (others if precision != 'int8-dynamic' else []):
        model = load_model(name, device='cpu', precision=precision, **options)
        full = load_model(name, device='cpu', **options)
        seen: list[bool] = []
        model.model.register_forward_hook(lambda *_, seen=seen: seen.append(torch.is_autocast_enabled('cpu')))
        result, expected = model(shots / 'a.png'), full(shots / 'a.png')
        assert seen == [precision == 'bf16']
        assert type(result) is type(expected) and json.dumps(result.to_dict())
        if hasattr(expected, 'label_map'):
            assert (result.label_map == expected.label_map).mean() > (0.9 if precision != 'fp32' else 0.9999)
        if hasattr(expected, 'anomaly_map'):
            tolerance = 0.05 if precision != 'fp32' else 1e-6
            np.testing.assert_allclose(result.anomaly_map, expected.anomaly_map, atol=tolerance)


def lines(capsys) -> list[dict[str, Any]]:
    """Standard output of a command with ``--json``."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def equal(found: list[dict[str, Any]], results: Any) -> bool:
    """Whether lines of JSON say what results say."""
    said = [{key: value for key, value in entry.items() if key not in ('files', 'anomalous')} for entry in found]
    return said == [json.loads(json.dumps(result.to_dict())) for result in results]


def test_commands_give_what_python_gives(model_files, fcclip, detector, clip, shots, capsys):
    files = ['--config', str(fcclip[0]), '--weights', str(fcclip[1])]
    for arguments, name, options in (
        (['segment', '--config', str(model_files[0]), '--weights', str(model_files[1])], model_files[0], {}),
        (['segment', '--preset', 'naclip', '--clip', clip], 'naclip', dict(clip=clip)),
        (['segment', '--model', 'naclip', '--clip', clip], 'naclip', dict(clip=clip)),
        (
            ['segment', '--method', 'ovseg', '--masks', 'superpixels', '--clip', clip],
            'ovseg',
            dict(clip=clip, masks='superpixels'),
        ),
        (['segment', *files, '--task', 'panoptic'], fcclip[0], dict(weights=fcclip[1], task='panoptic')),
        (
            ['segment', '--method', 'pmp', *files, '--task', 'instance', '--score', '0', '--things', 'road'],
            'pmp',
            dict(config=fcclip[0], weights=fcclip[1], task='instance', score=0.0, things='road'),
        ),
    ):
        weights = dict(weights=model_files[1]) if name == model_files[0] else {}
        model = load_model(name, words='road; sky', device='cpu', **weights, **options)
        assert main([*arguments, str(shots), '--classes', 'road; sky', '--device', 'cpu', '--json']) == 0
        assert equal(lines(capsys), model.stream(shots))
    arguments = ['--config', str(detector[0]), '--weights', str(detector[1]), '--device', 'cpu', '--json']
    assert main(['detect', str(shots), *arguments, '--score', '0']) == 0
    assert equal(lines(capsys), load_model(detector[0], weights=detector[1], device='cpu').stream(shots, score=0.0))


def test_functions_give_what_models_give(model_files, fcclip, detector, spots, clip, shots):
    picture = shots / 'a.png'
    for found, model in (
        (
            denseclip.segment(picture, 'road; sky', model='naclip', clip=clip, device='cpu'),
            load_model('naclip', clip=clip, words='road; sky', device='cpu'),
        ),
        (
            denseclip.segment(
                picture, 'car; sky', config=fcclip[0], weights=fcclip[1], task='panoptic', things='sky', device='cpu'
            ),
            load_model(fcclip[0], weights=fcclip[1], words='car; sky', task='panoptic', things='sky', device='cpu'),
        ),
        (
            denseclip.segment(picture, 'road', model='ovseg', masks='superpixels', clip=clip, device='cpu'),
            load_model('ovseg', words='road', masks='superpixels', clip=clip, device='cpu'),
        ),
        (
            denseclip.detect(picture, *detector, device='cpu', score=0.0),
            load_model(detector[0], weights=detector[1], score=0.0, device='cpu'),
        ),
        (
            denseclip.anomaly(picture, 'metal nut', config=spots, device='cpu'),
            load_model(spots, words='metal nut', device='cpu'),
        ),
    ):
        assert found.to_dict() == model(picture).to_dict()
    assert [r.names for r in denseclip.segment(shots, 'a; b', preset='naclip', clip=clip, device='cpu')] == [
        ('a', 'b')
    ] * 3
    for call, said in (
        (lambda: denseclip.segment(picture, config=detector[0], weights=detector[1], device='cpu'), 'denseclip.detect'),
        (lambda: denseclip.detect(picture, spots, device='cpu'), 'denseclip.anomaly'),
        (lambda: denseclip.anomaly(picture, 'nut', config=model_files[0], weights=model_files[1]), 'denseclip.segment'),
        (lambda: denseclip.segment(picture, 'a', preset='naclip', model='sclip'), 'two models'),
        (lambda: denseclip.detect(picture), 'give config'),
    ):
        with pytest.raises(UserError, match=said):
            call()
    forget_shared_model()


def test_former_names_of_anomaly_weights_work_with_one_line_of_warning(spots, clip, shots, tmp_path, capsys):
    folder = clip.removeprefix('local-dir:')
    before = ['anomaly', str(shots), '--object', 'nut', '--device', 'cpu', '--json']
    weights = f'{folder}/open_clip_model.safetensors'
    with pytest.warns(FutureWarning, match='pretrained'):
        AnomalyInferencer(dict(SPOTS), weights='openai', device='cpu')
    with pytest.warns(FutureWarning, match='called weights now'), pytest.raises(FileNotFoundError):
        AnomalyInferencer(dict(SPOTS), checkpoint=tmp_path / 'gone.pth', device='cpu')
    with pytest.warns(FutureWarning, match='called anomaly now'):
        denseclip.localize_anomalies(shots / 'a.png', 'nut', config=spots, device='cpu')
    assert main([*before, '--config', str(spots), '--checkpoint', str(tmp_path / 'gone.pth')]) == 2
    warning, error = capsys.readouterr().err.splitlines()
    assert warning.startswith('denseclip: warning: checkpoint is called weights now') and 'gone.pth' in error
    assert main([*before, '--clip', clip, '--weights', weights]) == 2  # a folder brings its own weights
    warning, error = capsys.readouterr().err.splitlines()
    assert "taken for CLIP's weights" in warning and 'local-dir' in error
    assert loading.shared_model(name=spots, device='cpu') is loading.shared_model(name=spots, device='cpu', words=None)
    forget_shared_model()
