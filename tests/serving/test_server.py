"""A server as a process: where it listens, how it ends, and that it needs no PyTorch."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from denseclip.apis.errors import UserError
from denseclip.serving import Limits
from denseclip.serving.server import bound, check_place, is_own

ROOT = Path(__file__).parents[2]
SLOW = """
import sys, time
import numpy as np
from denseclip.apis.predictor import Predictor
from denseclip.apis.segmentation import Segmentation
from denseclip.apis.images import pictures_of
from denseclip.clip.vocabulary import Vocabulary
from denseclip.serving.limits import Limits
from denseclip.serving.server import address_of, bound, serve
from denseclip.visualization.palette import distinct_palette

class Slow(Predictor):
    model, task, vocabulary = object(), 'semantic', Vocabulary.of('sky; road')

    def segment(self, image, words=None, **options):
        time.sleep(1)
        return [
            Segmentation(np.zeros(p.rgb.shape[:2], np.uint8), self.vocabulary, distinct_palette(2), p.rgb)
            for p in pictures_of(image)[0]
        ]

    _find = segment

place = bound('127.0.0.1', 0)
print(address_of(place), flush=True)
serve(Slow(), 'slow', place, Limits(batch=1, seconds=20), log_level='warning')
print('torch' in sys.modules, 'cv2' in sys.modules, flush=True)
"""


@pytest.fixture
def server():
    process = subprocess.Popen([sys.executable, '-c', SLOW], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    yield process, process.stdout.readline().strip()
    process.kill()
    process.wait()


def test_it_ends_when_those_who_asked_have_their_answers(server, picture_file):
    process, address = server
    transport = httpx.HTTPTransport(retries=50)
    with httpx.Client(base_url=address, transport=transport, timeout=20) as client:
        assert client.get('healthz').json()['status'] == 'ok'
    answers = []

    def ask():
        with httpx.Client(base_url=address, timeout=20) as client:
            answers.append(client.post('segment', files={'image': ('a.png', picture_file())}))

    users = [threading.Thread(target=ask) for _ in range(3)]
    for user in users:
        user.start()
    with httpx.Client(base_url=address, timeout=20) as client:
        while 'denseclip_requests_present 3.0' not in client.get('metrics').text:
            pass
    process.send_signal(signal.SIGTERM)
    for user in users:
        user.join(20)
    assert [answer.status_code for answer in answers] == [200] * 3
    assert process.wait(20) == 0
    assert process.stdout.read().split() == ['False', 'False']
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)


def test_who_may_listen_where():
    for host in ('127.0.0.1', '127.1.2.3', '::1', 'localhost'):
        assert is_own(host)
        check_place(host, 0, None, False)
    for host in ('0.0.0.0', '::', '192.168.1.7', 'example.org'):
        with pytest.raises(UserError, match='token'):
            check_place(host, 8000, None, False)
        check_place(host, 8000, 'long-enough', False)
        check_place(host, 8000, None, True)
    for token in ('short', 'with a space', 'ümlaute-umlaute', 'line\nbreaks-here'):
        with pytest.raises(UserError, match='8 or more'):
            check_place('127.0.0.1', 8000, token, False)
    with pytest.raises(UserError, match='65535'):
        check_place('127.0.0.1', 70000, None, False)


def test_a_place_that_is_taken_or_is_none():
    with bound('127.0.0.1', 0) as place:
        place.listen()
        with pytest.raises(UserError, match='another --port'):
            bound('127.0.0.1', place.getsockname()[1])
    with pytest.raises(UserError, match='no address'):
        bound('no.such.host.invalid', 8000)


def test_limits_have_units():
    assert (Limits(megabytes=0.5).bytes, Limits(megapixels=2).pixels) == (500_000, 2_000_000)
