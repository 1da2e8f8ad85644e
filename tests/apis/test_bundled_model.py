"""The bundled model is found in a source checkout and in an installed package, and works without a network."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from denseclip.apis import zoo
from denseclip.apis.errors import UserError
from denseclip.files import shipped
from denseclip.visualization import read_label_png

ROOT = Path(__file__).parents[2]
NO_NETWORK = """
import socket
def refuse(*args, **kwargs):
    raise OSError('the network is cut off')
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""


def fake_root(folder, with_weights=True):
    for name in ('checkpoints/tiny.safetensors', 'configs/tiny.py') if with_weights else ('configs/tiny.py',):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    zoo = folder / 'checkpoints' / 'model_zoo.yml'
    zoo.parent.mkdir(exist_ok=True)
    zoo.write_text(
        'default: tiny\nmodels:\n- name: other\n'
        '- {name: tiny, config: configs/tiny.py, file: checkpoints/tiny.safetensors}\n'
    )
    return folder


def test_found_inside_or_beside_the_package(tmp_path, monkeypatch):
    root = fake_root(tmp_path / 'second')
    monkeypatch.setattr(shipped, 'ROOTS', (tmp_path / 'first', root))
    assert zoo.default_model() == (root / 'configs/tiny.py', root / 'checkpoints/tiny.safetensors')


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, 'ROOTS', (tmp_path,))
    with pytest.raises(UserError, match='model_zoo.yml.*--config and --weights'):
        zoo.default_model()
    fake_root(tmp_path, with_weights=False)
    with pytest.raises(UserError, match="'checkpoints/tiny.safetensors' is missing"):
        zoo.default_model()


@pytest.mark.slow
def test_demo_twice_without_network(tmp_path, monkeypatch):
    """As a program without a network, which finds no text cache; then once more in this process."""
    (tmp_path / 'sitecustomize.py').write_text(NO_NETWORK)
    demo = str(ROOT / 'tools' / 'demo.py')
    environment = {'PYTHONPATH': f'{tmp_path}:{ROOT}', 'PATH': '', 'HOME': str(tmp_path)}
    result = subprocess.run(
        [sys.executable, demo], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert 'temple' in result.stdout
    overlay = tmp_path / 'demo_out' / 'china_overlay.png'
    overlay.unlink()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('DENSECLIP_CACHE', str(tmp_path / '.cache' / 'denseclip'))
    assert runpy.run_path(demo)['main']([]) == 0 and overlay.is_file()
    labels, names = read_label_png(tmp_path / 'demo_out' / 'china_labels.png')
    assert names == ['temple', 'sky', 'trees']
    assert labels.shape == (427, 640)
    # The upper edge of the photograph is sky.
    assert (labels[:60] == names.index('sky')).mean() > 0.7
