"""Models of every kind answer their own paths."""

from __future__ import annotations

import json

import numpy as np
from bright_spots import CONFIG
from mmengine.registry import init_default_scope
from PIL import Image
from starlette.testclient import TestClient
from tiny_detectors import detector_config, tiny_detector
from tiny_fcclip import tiny_fcclip

from denseclip.apis import AnomalyInferencer, Detector, Inferencer
from denseclip.apis.mask_inferencer import MaskInferencer
from denseclip.serving import Limits, Service, make_app
from denseclip.weights import write_safetensors

STEPS = [dict(type='PillowResizeShortSide', short_side=64, max_long_side=128), dict(type='PackPanopticInputs')]


def test_one_model_of_several_kinds(client_of, picture_file):
    init_default_scope('mmseg')
    model = MaskInferencer.from_model(tiny_fcclip(vocabulary=['car', 'road']), STEPS)
    model.score = 0.0
    client, file = client_of(model=model), picture_file()
    assert client.get('/model').json()['kinds'] == ['semantic', 'panoptic', 'instance']
    words = {'words': 'lamp; sky; cat', 'things': 'lamp; cat'}

    def ask(path, **data):
        answer = client.post(path, data={**words, **data}, files={'image': ('a.png', file)})
        assert answer.status_code == 200, answer.text
        return answer

    for task in ('semantic', 'panoptic', 'instance', 'semantic'):
        found = ask('/segment', task=task).json()
        assert (found['kind'], found['classes']) == (task, ['lamp', 'sky', 'cat'])
        assert ('areas' in found) == (task == 'semantic')
    found = ask('/detect', score=0.0).json()
    assert found['kind'] == 'instance' and found['objects']
    assert {thing['class'] for thing in found['objects']} <= {'lamp', 'cat'}
    assert ask('/segment?format=labels', task='panoptic').headers['content-type'] == 'image/png'
    answer = client.post('/segment', data={'words': 'sky', 'things': 'dog'}, files={'image': ('a.png', file)})
    assert answer.status_code == 422 and 'dog' in answer.json()['detail']


def test_a_detector(client_of, picture_file, tmp_path):
    config, weights = tmp_path / 'c.json', tmp_path / 'w.safetensors'
    steps = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(64, 64)), dict(type='PackDetInputs')]
    config.write_text(json.dumps(dict(default_scope='mmdet', model=detector_config(), test_pipeline=steps)))
    write_safetensors(tiny_detector().state_dict(), weights)
    model, file = Detector(config, weights, 'cpu'), picture_file()
    client = client_of(model=model)
    found = client.post('/detect', data={'score': '0'}, files={'image': ('a.png', file)}).json()
    assert len(found['objects']) == len(model(file, 0.0)) and found['classes'] == list(model.names)
    refused = client.post('/detect', data={'words': 'sky'}, files={'image': ('a.png', file)})
    assert refused.status_code == 422 and 'training' in refused.json()['detail']
    assert client.post('/segment', files={'image': ('a.png', file)}).status_code == 404


def test_defects(client_of, tmp_path):
    spotted = np.full((40, 60, 3), 60, np.uint8)
    spotted[10:20, 30:45] = 255
    Image.fromarray(spotted).save(tmp_path / 'a.png')
    client = client_of(model=AnomalyInferencer(CONFIG, device='cpu'))

    def ask(data, **options):
        return client.post('/anomaly', data=data, files={'image': (tmp_path / 'a.png').open('rb')}, **options)

    found = ask({'object': 'nut', 'defects': 'scratch; dent'}).json()
    [box] = [thing['box'] for thing in found['objects']]
    assert np.abs(np.subtract(box, [30, 10, 45, 20])).max() <= 7 and 0 < found['score'] < 1
    assert ask({'object': 'nut'}, headers={'accept': 'image/png'}).headers['content-type'] == 'image/png'
    for data, said in (({}, 'missing'), ({'object': ' '}, 'empty'), ({'object': 'x' * 201}, 'at most 200')):
        answer = ask(data)
        assert answer.status_code == 422 and said in answer.json()['detail'], answer.text


def test_what_defects_may_cost(client_of, picture_file):
    client = client_of(model=AnomalyInferencer(CONFIG, device='cpu'), words=20)

    def ask(size=(60, 40), **data):
        file = picture_file(*size)
        return client.post('/anomaly', data={'object': 'nut', **data}, files={'image': ('a.png', file)})

    defects, domain = (
        '; '.join(f'{word} {k}' for k in range(number)) for word, number in (('dent', 5), ('a photo', 5))
    )
    for size in ((1700, 100), (100, 1700)):
        answer = ask(size)
        assert answer.status_code == 422 and '16 : 1' in answer.json()['detail'], answer.text
    answer = ask(defects=defects, domain=domain)
    assert answer.status_code == 422 and '25 names' in answer.json()['detail']
    assert ask(defects='; '.join(f'dent {k}' for k in range(21))).status_code == 422
    assert ask((160, 10), defects=defects).status_code == 200


def test_a_model_without_classes_asks_for_words(inferencer, picture_file):
    service = Service(inferencer, 'preset', Limits(), needs_words=True)
    with TestClient(make_app(service)) as client:
        answer = client.post('/segment', files={'image': ('a.png', picture_file())})
    assert answer.status_code == 422 and 'brings no classes' in answer.json()['detail']


def test_exports_say_whether_their_words_are_free(inferencer, client_of, picture_file):
    init_default_scope('mmseg')
    for files, free in (({'text': 'text.onnx'}, True), ({'embeddings': 'embeddings.npz'}, False)):
        model = Inferencer.from_model(inferencer.model, list(inferencer.steps))
        model.manifest = type('Manifest', (), {'masks': None, 'words': object(), 'files': files})()
        client = client_of(model=model)
        assert client.get('/model').json()['free_words'] is free
        answer = client.post('/segment', data={'words': f'lake; {free}'}, files={'image': ('a.png', picture_file())})
        assert (answer.status_code == 200) is free
        if not free:
            assert 'are fixed' in answer.json()['detail']
