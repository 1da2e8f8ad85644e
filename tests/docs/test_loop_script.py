"""docs/loop.sh with a command in place of denseclip that notes what it was asked: order, second runs, refusals."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / 'docs' / 'loop.sh'
COMMAND = """#!{python}
import http.server, json, os, pathlib, sys
word, given = sys.argv[1], sys.argv[2:]
value = lambda name: pathlib.Path(given[given.index(name) + 1])
with open(os.environ['NOTES'], 'a') as file:
    file.write(' '.join(sys.argv[1:]) + chr(10))
if word == 'label':
    value('--out').mkdir(exist_ok=True)
if word == 'review' and '--apply' not in given:
    data = dict(kind='k', version=1, labels='l', pictures=[dict(name='a')], objects=[dict(picture=0, object=3)] * 2)
    page = '<script id="data">' + json.dumps(data) + '</script>'
    (pathlib.Path(given[0]) / 'review.html').write_text(page)
if word == 'distill':
    value('--out').mkdir(exist_ok=True)
    if (value('--out') / 'config.py').exists() and '--resume' not in given:
        sys.exit(2)
    (value('--out') / 'config.py').touch()
if word == 'serve':
    if os.environ.get('BROKEN'):
        sys.exit('no such model')
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
        def do_POST(self):
            self.rfile.read(int(self.headers['Content-Length']))
            self.do_GET()
            self.wfile.write(b'labels')
        def log_message(self, *_):
            pass
    http.server.HTTPServer(('127.0.0.1', int(value('--port').name)), Answer).serve_forever()
"""


@pytest.fixture
def loop(tmp_path):
    """Runs the script; the processes it may use are a few."""
    (tmp_path / 'bin').mkdir()
    for name in ('bash', 'mkdir', 'find', 'sort', 'head', 'tail', 'wc', 'sleep', 'curl'):
        (tmp_path / 'bin' / name).symlink_to(shutil.which(name))
    (tmp_path / 'bin/python3').symlink_to(sys.executable)
    command = tmp_path / 'bin/denseclip'
    command.write_text(COMMAND.format(python=sys.executable))
    command.chmod(0o755)
    (tmp_path / 'shots').mkdir()
    (tmp_path / 'shots/a.png').write_bytes(b'picture')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])

    def run(*words, **more):
        env = {'PATH': str(tmp_path / 'bin'), 'NOTES': str(tmp_path / 'notes'), 'PORT': port, **more}
        words = words or (str(tmp_path / 'shots'), 'road; sky', str(tmp_path / 'out'))
        done = subprocess.run(['bash', SCRIPT, *words], env=env, capture_output=True, text=True, timeout=60)
        notes = (tmp_path / 'notes').read_text().splitlines() if (tmp_path / 'notes').exists() else []
        return done, notes

    return run


def test_the_same_command_goes_on(loop, tmp_path):
    done, notes = loop()
    assert done.returncode == 0, done.stderr
    words = ['label', 'review', 'review', 'new-dataset', 'check', 'distill', 'export', 'segment', 'serve']
    assert [note.split()[0] for note in notes] == words and '--resume' not in notes[5]
    assert (tmp_path / 'out/answer.png').read_bytes() == b'labels'
    assert '"object": 3' in (tmp_path / 'out/decisions.json').read_text()
    done, notes = loop(ITERATIONS='7')
    assert done.returncode == 0, done.stderr
    assert notes[-4].split()[0] == 'distill' and notes[-4].endswith('/student --resume')
    assert 'goes on; remove it' in done.stdout


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ('curl', 'install it first'),
        ('denseclip', "pip install 'denseclip-suite[mm,demo,train,export,serve]'"),
        ('words', 'PHOTOGRAPHS, WORDS and OUT'),
        ('shots', 'is no folder of photographs'),
        ('port', 'is taken; choose another PORT'),
    ],
)
def test_what_is_missing_is_said_first(loop, tmp_path, change, said):
    words, more = (), {}
    if change in ('curl', 'denseclip'):
        (tmp_path / 'bin' / change).unlink()
    if change in ('words', 'shots'):
        words = (str(tmp_path / 'nothing'), 'road; sky', 'out')[: 3 if change == 'shots' else 2]
    taken = None
    if change == 'port':
        taken = subprocess.Popen(
            [sys.executable, '-c', 'import http.server as h; s = h.HTTPServer(("127.0.0.1", 0), '
             'h.SimpleHTTPRequestHandler); print(s.server_port, flush=True); s.serve_forever()'],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=tmp_path / 'shots',
        )  # fmt: skip
        more['PORT'] = taken.stdout.readline().strip()
    done, notes = loop(*words, **more)
    if taken is not None:
        taken.kill()
        taken.communicate()
    assert done.returncode == 2 and said in done.stderr and len(done.stderr.splitlines()) == 1
    assert notes == [] and not (tmp_path / 'out').exists()


def test_a_server_that_ends_is_not_waited_for(loop):
    done, _ = loop(BROKEN='1')
    assert done.returncode == 2 and 'the server has ended: no such model' in done.stderr
