"""Answers over HTTP are those of the model; what cannot be answered is a sentence that says what to do."""

from __future__ import annotations

import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from starlette.testclient import TestClient
from tiny_open_vocab import tiny_open_vocab

from denseclip.apis import Inferencer
from denseclip.apis.errors import UserError
from denseclip.apis.results.formats import formats_of
from denseclip.apis.results.sheets import Place
from denseclip.serving import Limits, Service, make_app
from denseclip.visualization.label_png import NAMES_KEY

WORDS = 'temple; sky = heavens; trees'


def ask(client, data=None, file=None, path='/segment', name='photo.png', **options):
    content = file if file is not None else ask.picture
    return client.post(path, data=data, files={'image': (name, content)}, **options)


@pytest.fixture(autouse=True)
def picture(picture_file):
    ask.picture = picture_file()
    return ask.picture


def test_the_answer_is_the_model_s(client, inferencer, picture):
    expected = inferencer(picture, WORDS)
    answer = ask(client, {'words': WORDS})
    assert answer.status_code == 200
    found = answer.json()
    assert 'source' not in found and found['classes'] == ['temple', 'sky', 'trees']
    labels = np.full((60, 90), -1)
    for thing in found['objects']:
        labels[coco_mask.decode(thing['mask']).astype(bool)] = thing['label']
    np.testing.assert_array_equal(labels, expected.label_map)
    assert [a['pixels'] for a in found['areas']] == [a.pixels for a in expected.areas()]
    assert found['words'][1] == {'name': 'sky', 'synonyms': ['heavens']}


def test_without_words_the_model_s_own_are_taken(client, inferencer, picture):
    found = ask(client).json()
    assert found['classes'] == list(inferencer.own_vocabulary.names)
    assert [a['pixels'] for a in found['areas']] == [a.pixels for a in inferencer(picture).areas()]


def test_options_of_the_model_are_those_of_the_form(client, inferencer, picture):
    found = ask(client, {'words': WORDS, 'min_area': '0.4', 'background': 'something else, void'}).json()
    from denseclip.clip import Vocabulary

    words = Vocabulary.of({'classes': WORDS, 'background': 'prompts', 'background_names': ('something else', 'void')})
    expected = inferencer(picture, words, min_area=0.4)
    assert [a['pixels'] for a in found['areas']] == [a.pixels for a in expected.areas()]


def test_every_format_is_the_file_that_the_commands_write(client, inferencer, picture):
    expected = inferencer(picture, WORDS)
    for name, row in formats_of('semantic').items():
        answer = ask(client, {'words': WORDS}, path=f'/segment?format={name}', name='../my photo.png')
        assert answer.status_code == 200, answer.text
        if name == 'json':
            continue
        assert answer.headers['content-disposition'] == f"inline; filename*=UTF-8''my%20photo{row.ending}"
        content = row.content(replace(expected, source=None), Place(name='my photo.png'))
        assert answer.content == (content.encode() if isinstance(content, str) else content)


def test_a_picture_that_is_asked_for_is_the_label_map(client, inferencer, picture):
    answer = ask(client, {'words': WORDS}, headers={'accept': 'image/png'})
    assert answer.headers['content-type'] == 'image/png'
    with Image.open(io.BytesIO(answer.content)) as found:
        np.testing.assert_array_equal(np.asarray(found), inferencer(picture, WORDS).label_map)
        assert json.loads(found.text[NAMES_KEY]) == ['temple', 'sky', 'trees']


def test_a_list_of_the_suite_is_words(client_of):
    found = ask(client_of(words=300), {'words': 'camvid'}).json()
    assert 'sky' in found['classes'] and len(found['classes']) == 11


def test_words_that_look_like_a_file_are_words(client, tmp_path):
    """No field is a path: what lies there is never read."""
    secret = tmp_path / 'words.txt'
    secret.write_text('hidden one\nhidden two\n')
    for text in (str(secret), f'{secret}; sky', 'words.txt', '/etc/passwd', '../../etc/passwd', 'file:///etc/passwd'):
        answer = ask(client, {'words': text}, name=str(secret))
        assert answer.status_code == 200 and 'hidden' not in answer.text and 'root:' not in answer.text
        assert answer.json()['classes'][0] == text.split(';')[0].strip()


def test_users_never_get_each_other_s_words(client_of, inferencer, picture_file):
    """Twelve at the same time, each with words and pictures of its own."""
    client = client_of(requests=100)
    words = [[f'thing {user} {k}' for k in range(2 + user % 4)] for user in range(12)]
    pictures = [picture_file(seed=user) for user in range(12)]
    expected = [[a.pixels for a in inferencer(p, '; '.join(w)).areas()] for p, w in zip(pictures, words, strict=True)]
    ready = threading.Barrier(12)

    def user(number):
        ready.wait()
        return [ask(client, {'words': '; '.join(words[number])}, pictures[number]).json() for _ in range(4)]

    with ThreadPoolExecutor(12) as pool:
        for number, answers in enumerate(pool.map(user, range(12))):
            for found in answers:
                assert found['classes'] == words[number]
                close = np.abs(np.subtract([a['pixels'] for a in found['areas']], expected[number])).max()
                assert close <= 5  # those of equal size run together, which rounds differently


EMPTY, SMALL = {}, {'words': 'road; sky'}
BIG = {'words': '; '.join(f'word {k}' for k in range(21))}
BAD = {
    'no picture': (dict(data=SMALL, files=None), 422, "'image' is missing"),
    'nothing at all': (dict(), 422, "'image' is missing"),
    'JSON in place of a form': (dict(json={'words': 'sky'}), 422, "'image' is missing"),
    'a picture without a file name': (dict(data={'image': 'abc'}), 422, 'must be a file'),
    'no form': (
        dict(content=b'xxx', headers={'content-type': 'multipart/form-data; boundary=a'}),
        400,
        'no readable form',
    ),
    'a form without an end': (
        dict(
            content=b'--a\r\nContent-Disposition: form-data; name="image"; filename="a"\r\nbroken',
            headers={'content-type': 'multipart/form-data; boundary=a'},
        ),
        422,
        'is missing',
    ),
    'a form without a boundary': (
        dict(content=b'--a--', headers={'content-type': 'multipart/form-data'}),
        400,
        'no readable form',
    ),
    'an empty file': (dict(file=b''), 422, 'is empty'),
    'a text': (dict(file=b'hello, this is no picture'), 422, 'no picture in a known format'),
    'a page': (dict(file=b'<svg xmlns="http://www.w3.org/2000/svg"/>'), 422, 'no picture in a known format'),
    'a program for a printer': (dict(file=b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n'), 422, 'known format'),
    'half a picture': (dict(half=True), 422, 'damaged or truncated'),
    'too many bytes': (dict(file=bytes(300_000)), 413, '0.2 MB'),
    'too many pixels': (dict(size=(400, 300)), 413, '100,000'),
    'a strip': (dict(size=(9000, 1)), 413, 'strip'),
    'a misspelt field': (dict(data={'classes': 'sky'}), 422, "no field 'classes'"),
    'a field twice': (dict(data={'words': ['sky; a', 'road; b']}), 422, 'is there 2 times'),
    'a class twice': (dict(data={'words': 'sky; sky'}), 422, "duplicate class name: 'sky'"),
    'empty words': (dict(data={'words': ' ; ; '}), 422, 'empty'),
    'too many words': (dict(data=BIG), 422, 'takes 20 (--max-words)'),
    'words without an end': (dict(data={'words': 'x' * 5000}), 422, 'characters'),
    'a background without words': (dict(data={'background': 'void'}), 422, 'needs words'),
    'words nested without end': (dict(data={'words': '[' * 1900 + ']' * 20}), 422, 'nested too deeply'),
    'words that are half a character': (dict(data={'words': '["\\ud800", "sky"]'}), 422, 'half a character'),
    'half a character twice': (dict(data={'words': '{"\\ud800": "a", "\\ud800": "b"}'}), 422, 'listed twice'),
    'a share above 1': (dict(data={'min_confidence': '1.5'}), 422, "'min_confidence'"),
    'a share that is no number': (dict(data={'min_area': 'much'}), 422, "'min_area'"),
    'a share that is not a number': (dict(data={'min_area': 'nan'}), 422, "'min_area'"),
    'another task': (dict(data={'task': 'panoptic'}), 422, "no 'panoptic' results"),
    'things of a model that counts none': (dict(data={**SMALL, 'things': 'road'}), 422, 'counts nothing'),
    'an unknown format': (dict(path='/segment?format=gif'), 422, "format of semantic results is called 'gif'"),
    'an option in the address': (dict(path='/segment?words=sky'), 422, "no option '?words='"),
    'a word that is a novel': (dict(data={'words': 'long ' * 90}), 422, 'shorten it'),
    'another kind of answer': (dict(headers={'accept': 'text/html'}), 406, 'text/html'),
    "another model's path": (dict(path='/detect'), 404, 'POST /segment'),
    'defects': (dict(path='/anomaly', data={'object': 'nut'}), 404, 'POST /segment'),
    'a path that is none': (dict(path='/segmnet'), 404, '/openapi.json'),
    'a path upwards': (dict(path='/../../etc/passwd'), 404, '/openapi.json'),
    'a file of the page': (dict(path='/page.js'), 405, '/page.js takes no POST'),
    'a page of another site': (dict(headers={'sec-fetch-site': 'cross-site'}), 403, 'another site'),
    'a page of another site without TLS': (dict(headers={'origin': 'http://there.example'}), 403, 'another site'),
}


@pytest.mark.parametrize('case', BAD)
def test_bad_requests_are_told_what_to_do(client, picture_file, case):
    options, status, said = BAD[case]
    options = dict(options)
    path = options.pop('path', '/segment')
    size, half, file = options.pop('size', None), options.pop('half', False), options.pop('file', None)
    if half:
        file = ask.picture[: len(ask.picture) // 2]
    if size is not None:
        file = picture_file(*size)
    if not {'json', 'content', 'files'} & set(options) and case not in (
        'nothing at all',
        'a picture without a file name',
    ):
        options['files'] = {'image': ('photo.png', ask.picture if file is None else file)}
    answer = client.post(path, **options)
    found = answer.json()
    assert (answer.status_code, found['status']) == (status, status)
    assert said in found['detail'] and '\n' not in found['detail'] and len(found['detail']) <= 505
    assert answer.headers['content-type'] == 'application/json'


def test_a_fault_of_the_server_says_nothing_of_it(inferencer, client_of, monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError('/home/me/secret.py is broken')

    monkeypatch.setattr(type(inferencer), 'segment', fail)
    answer = ask(client_of(), SMALL)
    assert answer.status_code == 500 and 'secret' not in answer.text and 'fault of the server' in answer.text
    assert '/home/me/secret.py' in caplog.text


def test_who_waits_too_long_is_told_so(inferencer, client_of, monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(type(inferencer), 'segment', lambda *_, **__: [release.wait(20)])
    answer = ask(client_of(seconds=0.3), SMALL)
    release.set()
    assert answer.status_code == 504 and '0.3 s' in answer.json()['detail']


def test_who_waited_too_long_is_not_served_later(inferencer, client_of, monkeypatch):
    release, begun, asked, real = threading.Event(), threading.Event(), [], type(inferencer).segment

    def slow(self, pictures, words, **options):
        asked.append(words.names)
        begun.set()
        release.wait(20)
        return real(self, pictures, words, **options)

    monkeypatch.setattr(type(inferencer), 'segment', slow)
    client = client_of(seconds=1.5)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, client, SMALL)
        assert begun.wait(20)
        assert ask(client, {'words': 'lake; hill'}).status_code == 504
        assert first.result().status_code == 504
        assert client.get('/healthz').json()['waiting'] == 0
    release.set()
    client.__exit__(None, None, None)  # the line does what is in it
    client.__enter__()
    assert asked == [('road', 'sky')]


def test_a_full_server_sends_away(inferencer, client_of, monkeypatch):
    release, begun, real = threading.Event(), threading.Event(), type(inferencer).segment

    def slow(*args, **options):
        begun.set()
        release.wait(20)
        return real(*args, **options)

    monkeypatch.setattr(type(inferencer), 'segment', slow)
    client = client_of(requests=1)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, client, SMALL)
        assert begun.wait(20)
        second = ask(client, SMALL)
        assert client.get('/healthz').status_code == 200
        release.set()
        assert first.result().status_code == 200
    assert second.status_code == 429 and int(second.headers['retry-after']) > 0
    assert ask(client, SMALL).status_code == 200


def test_a_token_opens(client_of):
    client = client_of(token='a-token-for-tests')
    for headers in ({}, {'authorization': 'Bearer another-token'}, {'authorization': 'a-token-for-tests'}):
        answer = ask(client, SMALL, headers=headers)
        assert answer.status_code == 401 and answer.headers['www-authenticate'] == 'Bearer'
        assert client.get('/metrics', headers=headers).status_code == 401
    assert ask(client, SMALL, headers={'authorization': 'Bearer a-token-for-tests'}).status_code == 200
    for path in ('/', '/page.js', '/page.css', '/healthz', '/openapi.json', '/model'):
        assert client.get(path).status_code == 200


def test_what_is_counted(client):
    for _ in range(3):
        ask(client, SMALL)
    client.get('/nowhere/1')
    client.get('/nowhere/2')
    text = client.get('/metrics').text
    assert 'denseclip_requests_total{path="/segment",status="200"} 3.0' in text
    assert 'denseclip_requests_total{path="other",status="404"} 2.0' in text
    assert 'nowhere' not in text


def test_what_is_served_says_so(client, inferencer):
    found = client.get('/model').json()
    assert found['endpoints'] == ['segment'] and found['free_words'] is True
    assert [word['name'] for word in found['words']] == list(inferencer.own_vocabulary.names)
    assert client.get('/healthz').json()['status'] == 'ok'


@pytest.fixture
def compared(inferencer):
    """A server of two models, and the second of them."""
    steps = [dict(type='Resize', scale=(128, 64), keep_ratio=True), dict(type='PackSegInputs')]
    other = Inferencer.from_model(tiny_open_vocab(seed=1), steps)
    services = [Service(model, name, Limits(words=20)) for name, model in (('tiny', inferencer), ('other', other))]
    with TestClient(make_app(services[0], beside=services[1:]), raise_server_exceptions=False) as client:
        yield client, other


def test_requests_name_the_model_that_they_ask(compared, inferencer, picture):
    client, other = compared
    assert client.get('/model').json()['beside'] == ['other']
    for model, name in ((inferencer, ''), (inferencer, 'tiny'), (other, 'other')):
        found = ask(client, {'words': WORDS, 'model': name}).json()
        assert [a['pixels'] for a in found['areas']] == [a.pixels for a in model(picture, WORDS).areas()]
        assert found['model'] == (name or 'tiny')
    answer = ask(client, {'words': WORDS, 'model': '../other'})
    assert answer.status_code == 422 and 'send model=tiny, other' in answer.json()['detail']


def test_a_request_without_words_means_those_of_the_first_model(compared, inferencer):
    client, _ = compared
    found = ask(client, {'model': 'other'}).json()
    assert found['classes'] == list(inferencer.own_vocabulary.names)


def test_models_that_cannot_be_compared_are_refused(inferencer):
    first, same = (Service(inferencer, 'tiny', Limits()) for _ in range(2))
    with pytest.raises(UserError, match='served already'):
        make_app(first, beside=[same])
    other = Service(inferencer, 'other', Limits())
    other.kinds = ('panoptic', 'semantic')
    with pytest.raises(UserError, match='labels no pixels'):
        make_app(first, beside=[other])
    for service in (first, same, other):
        service.close()
