"""Models as folders and repositories: the same model comes back, and nothing in a folder is run."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import HfApi, ModelCard
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from mmengine.config import Config
from mmengine.registry import init_default_scope
from safetensors import safe_open
from tiny_detectors import THINGS, detector_config, tiny_detector
from tiny_open_vocab import tiny_open_vocab
from tiny_pmp_hosts import FCCLIP

import denseclip
from denseclip.apis import Detector, Inferencer, UserError, from_pretrained, load_model
from denseclip.apis import pretrained as module
from denseclip.apis.mask_inferencer import MaskInferencer
from denseclip.apis.pretrained_config import decoded, encoded
from denseclip.models.builder import build_module
from denseclip.structures.word_scores import Calibration
from denseclip.weights import write_safetensors

PICTURE = np.random.default_rng(0).integers(0, 256, (60, 84, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError('a network was asked for')

    monkeypatch.setattr(socket.socket, 'connect', refuse)


@pytest.fixture
def saved(inferencer, tmp_path):
    """Folder of the tiny model."""
    return inferencer.save_pretrained(tmp_path / 'mine')


def test_the_same_model_comes_back(inferencer, saved, monkeypatch, tmp_path):
    assert sorted(path.name for path in saved.iterdir()) == ['README.md', 'config.json', 'model.safetensors']
    monkeypatch.chdir(tmp_path)
    expected = inferencer.segment(PICTURE, 'lake; hill', channel_order='rgb', pixel_scores=True)
    for again in (
        denseclip.from_pretrained(saved),
        load_model(f'local-dir:{saved}'),
        load_model('mine'),
        load_model(saved),
        load_model(config=saved / 'config.json', weights=saved / 'model.safetensors'),
    ):
        assert again.own_vocabulary == inferencer.own_vocabulary
        found = again.segment(PICTURE, 'lake; hill', channel_order='rgb', pixel_scores=True)
        np.testing.assert_array_equal(found.label_map, expected.label_map)
        np.testing.assert_array_equal(found.pixel_scores, expected.pixel_scores)


def test_a_saved_model_says_where_it_comes_from(inferencer, saved):
    with safe_open(saved / 'model.safetensors', framework='pt') as file:
        said = file.metadata()
    assert {'denseclip', 'written', 'source', 'source_sha256'} <= said.keys()
    assert said['source'] == Path(inferencer.origin.weights).name


def test_words_and_confidences_go_along(inferencer, tmp_path, monkeypatch):
    from denseclip.clip.unrelated import unrelated_words
    from denseclip.structures.word_scores import FEATURES, digest

    calibration = Calibration((0.5, 0.25), -1.0, FEATURES, digest(unrelated_words()))
    monkeypatch.setattr(inferencer, 'calibration', calibration)
    inferencer.set_vocabulary('lake = pond; hill')
    again = from_pretrained(inferencer.save_pretrained(tmp_path / 'mine'))
    assert again.vocabulary == inferencer.vocabulary and again.own_vocabulary == inferencer.own_vocabulary
    assert again.calibration == calibration
    assert again.segment(PICTURE, channel_order='rgb').names == ('lake', 'hill')
    assert from_pretrained(tmp_path / 'mine', words='a; b').vocabulary.names == ('a', 'b')


def test_models_of_several_tasks(tmp_path):
    torch.manual_seed(0)
    steps = [dict(type='PillowResizeShortSide', short_side=64, max_long_side=128), dict(type='PackPanopticInputs')]
    weights = write_safetensors(build_module(FCCLIP).state_dict(), tmp_path / 'w.safetensors')
    model = MaskInferencer(Config(dict(model=FCCLIP, test_pipeline=steps)), weights, 'cpu', task='panoptic', score=0.1)
    again = from_pretrained(model.save_pretrained(tmp_path / 'mine'), device='cpu')
    assert isinstance(again, MaskInferencer) and (again.task, again.score) == ('panoptic', 0.1)
    one, other = (m.segment(PICTURE, 'lamp; sky', channel_order='rgb') for m in (model, again))
    np.testing.assert_array_equal(one.ids, other.ids)
    assert from_pretrained(tmp_path / 'mine', task='semantic').task == 'semantic'
    assert model.things is None and again.things is None
    model.set_vocabulary('lamp; sky', things=['sky'])
    again = from_pretrained(model.save_pretrained(tmp_path / 'mine', force=True), device='cpu')
    assert (again.vocabulary.names, again.things) == (('lamp', 'sky'), ('sky',))
    assert torch.equal(torch.as_tensor(again.model.is_thing), torch.as_tensor(model.model.is_thing))
    again.segment(PICTURE, 'tree; car', channel_order='rgb')  # they were those of the other words
    assert from_pretrained(tmp_path / 'mine', words='a; b').things is None
    kept = from_pretrained(tmp_path / 'mine', things='all', device='cpu').save_pretrained(tmp_path / 'all')
    again = from_pretrained(kept, device='cpu')
    assert again.things == 'all' and again.keeps_things


def test_detectors(tmp_path):
    torch.manual_seed(0)
    config = dict(
        default_scope='mmdet',
        model=detector_config(),
        test_pipeline=[
            dict(type='Resize', scale=(128, 96), keep_ratio=True),
            dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
        ],
    )
    weights = write_safetensors(tiny_detector().state_dict(), tmp_path / 'w.safetensors')
    model = Detector(Config(config), weights, 'cpu', score=0.0)
    again = from_pretrained(model.save_pretrained(tmp_path / 'mine'))
    assert isinstance(again, Detector) and again.names == tuple(THINGS) and again.score == 0.0
    one, other = (m.detect(PICTURE, channel_order='rgb') for m in (model, again))
    assert len(one) > 0
    np.testing.assert_array_equal(one.boxes, other.boxes)


def test_the_card_says_what_is_known(saved, inferencer):
    card = ModelCard.load(saved / 'README.md')
    assert card.data.library_name == 'denseclip' and card.data.pipeline_tag == 'image-segmentation'
    assert all(f'`{name}`' in card.text for name in inferencer.own_vocabulary.names[:5])
    assert 'from_pretrained' in card.text


def test_the_card_of_the_zoo_is_used_for_its_weights(inferencer, monkeypatch):
    from denseclip.apis.predictor import Origin
    from denseclip.apis.pretrained_card import card_of
    from denseclip.apis.zoo import default_model

    monkeypatch.setattr(inferencer, 'origin', Origin(inferencer.origin.config, str(default_model()[1])))
    card = card_of(inferencer)
    assert 'DenseCLIP on EfficientNet-Lite0' in card.text and '](../' not in card.text
    assert card.data.license == 'apache-2.0' and card.data.datasets == ['CamVid']


def test_nothing_is_replaced_unasked(inferencer, saved):
    before = (saved / 'model.safetensors').stat().st_mtime_ns
    (saved / 'notes.txt').write_text('mine')
    with pytest.raises(UserError, match='force'):
        inferencer.save_pretrained(saved)
    assert (saved / 'model.safetensors').stat().st_mtime_ns == before
    inferencer.save_pretrained(saved, force=True)
    assert (saved / 'notes.txt').read_text() == 'mine'
    assert not [path for path in saved.iterdir() if path.name.startswith('.')]
    with pytest.raises(UserError, match='no folder'):
        inferencer.save_pretrained(saved / 'notes.txt')


def test_models_without_weights_of_their_own_say_so(tmp_path):
    init_default_scope('mmseg')
    model = Inferencer.from_model(tiny_open_vocab(), [dict(type='PackSegInputs')])
    for call in (lambda: model.save_pretrained(tmp_path / 'mine'), lambda: model.push_to_hub('me/mine')):
        with pytest.raises(UserError, match='no weights of its own'):
            call()
    assert not (tmp_path / 'mine' / 'config.json').exists()


def test_a_repository_of_the_hub(inferencer, monkeypatch, tmp_path):
    """What is pushed is what a folder holds; what is fetched is read in the same way."""
    hub = tmp_path / 'hub'
    repository = type('Repo', (), {'repo_id': 'me/mine'})()
    monkeypatch.setattr(HfApi, 'create_repo', lambda self, **_: repository)

    def upload(self, *, repo_id, folder_path, **_):
        shutil.copytree(folder_path, hub / repo_id)
        return f'https://hub.example/{repo_id}/commit/1'

    def download(repo_id, filename, **options):
        asked.append((filename, options['revision']))
        if not (hub / repo_id / filename).is_file():
            raise EntryNotFoundError('no such file')
        return str(hub / repo_id / filename)

    asked = []
    monkeypatch.setattr(HfApi, 'upload_folder', upload)
    monkeypatch.setattr(module, 'hf_hub_download', download)
    monkeypatch.setattr('huggingface_hub.hub_mixin.hf_hub_download', download, raising=False)
    monkeypatch.setattr(module, '_online', lambda: True)
    assert inferencer.push_to_hub('me/mine', private=True).endswith('commit/1')
    assert {p.name for p in (hub / 'me/mine').iterdir()} == {'README.md', 'config.json', 'model.safetensors'}
    again = load_model('hf-hub:me/mine@v1')
    expected = inferencer.segment(PICTURE, 'lake; hill', channel_order='rgb')
    np.testing.assert_array_equal(
        again.segment(PICTURE, 'lake; hill', channel_order='rgb').label_map, expected.label_map
    )
    assert {name for name, _ in asked} >= {'config.json', 'model.safetensors'} and {at for _, at in asked} == {'v1'}
    with pytest.raises(UserError, match='check the name'):
        load_model('hf-hub:me/nothing')


def test_a_network_that_fails_is_no_missing_calibration(saved, monkeypatch):
    def download(repo_id, filename, **_):
        if (saved / filename).is_file():
            return str(saved / filename)
        raise LocalEntryNotFoundError('the network failed')

    monkeypatch.setattr(module, 'hf_hub_download', download)
    monkeypatch.setattr('huggingface_hub.hub_mixin.hf_hub_download', download)
    monkeypatch.setattr(module, '_online', lambda: True)
    with pytest.raises(UserError, match='the network failed'):
        from_pretrained('me/mine')
    assert from_pretrained('me/mine', local_files_only=True).calibration is None


def test_a_head_is_not_lost_silently(inferencer, tmp_path, monkeypatch):
    monkeypatch.setattr(inferencer.model, 'pixel_head', object())
    with pytest.raises(UserError, match='use_head'):
        inferencer.save_pretrained(tmp_path / 'mine')
    assert not (tmp_path / 'mine' / 'config.json').exists()


MARKER = 'MARKER'
ASKS_FOR_CODE = {
    'a function of Python': (('model', 'type'), 'builtins.print'),
    'a module of Python': (('model', 'type'), 'this'),
    'a function of the host': (('model', 'type'), 'mmengine.mkdir_or_exist'),
    'a function deeper down': (('model', 'neck'), {'type': 'pathlib.Path', 'args': [MARKER]}),
    'no name': (('model', 'neck'), {'type': ['print']}),
    'an unknown name': (('model', 'neck'), {'type': 'NoSuchNeck'}),
    'a suppression that is Python': (('model', 'test_cfg', 'nms'), {'type': f"open('{MARKER}', 'w')"}),
    'a step of the pipeline': (('test_pipeline',), [{'type': 'pathlib.Path'}]),
    'imports': (('custom_imports',), {'imports': ['this']}),
    'another scope': (('model', '_scope_'), 'mine'),
    'another default scope': (('default_scope',), 'mine'),
    'trust': (('model', 'neck'), {'pretrained': {'source': 'x.pt', 'trust': True}}),
    'an address': (('model', 'neck'), {'pretrained': 'http://127.0.0.1:9/net.pth'}),
    'an address deeper down': (('model', 'neck'), {'pretrained': {'source': 'https://127.0.0.1:9/net.pth'}}),
    'another library': (('library',), 'other'),
    'no model': (('model',), 'none'),
}


@pytest.mark.parametrize('case', ASKS_FOR_CODE)
def test_configs_that_ask_for_code_are_refused(saved, case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    place, value = ASKS_FOR_CODE[case]
    content = json.loads((saved / 'config.json').read_text())
    here = content
    for key in place[:-1]:
        here = here.setdefault(key, {})
    here[place[-1]] = value
    (saved / 'config.json').write_text(json.dumps(content))
    with pytest.raises(UserError, match='refused|are allowed|no model of this suite'):
        from_pretrained(saved)
    assert not Path(MARKER).exists() and 'Zen' not in capsys.readouterr().out


def test_folders_that_are_not_whole_are_named(saved, tmp_path):
    (saved / 'model.safetensors').unlink()
    with pytest.raises(UserError, match='not whole'):
        from_pretrained(saved)
    (saved / 'config.json').write_text('{"library": ')
    with pytest.raises(UserError, match='JSON'):
        from_pretrained(saved)
    with pytest.raises(UserError, match='save_pretrained'):
        from_pretrained(tmp_path)
    with pytest.raises(UserError, match='whole model'):
        load_model(f'local-dir:{saved}', weights='x.pth')


def test_a_config_survives_json(tmp_path):
    content = dict(
        model=dict(
            type='EncoderDecoder', test_cfg=dict(mode='slide', crop_size=(3, 4), stride=[1, 2]), sizes=((1,), [2])
        ),
        path=Path('a/b'),
    )
    (tmp_path / 'c.json').write_text(encoded(content))
    found = decoded(tmp_path / 'c.json')
    assert found['model'] == content['model'] and found['path'] == 'a/b'
    with pytest.raises(UserError, match='model/type'):
        encoded(dict(model=dict(type=Path)))
    with pytest.raises(UserError, match='model/pretrained.*address'):
        encoded(dict(model=dict(pretrained='https://some.where/net.pth')))
