"""Models of the zoo by name: bundled ones checked where they are, others fetched from where the zoo says."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml

from denseclip.apis import zoo
from denseclip.cli.main import main
from denseclip.files import shipped

CONTENT = b'weights' * 1000
SUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of made-up models in a folder, which is the current one."""
    ours = tmp_path / 'package' / 'checkpoints'
    ours.mkdir(parents=True)
    (tmp_path / 'there.pth').write_bytes(CONTENT)
    (ours / 'own.safetensors').write_bytes(CONTENT)
    url = (tmp_path / 'there.pth').as_uri()
    common = {'licence': 'MIT', 'config': 'configs/a/b.py', 'file': None, 'url': None, 'sha256': None}
    entries = [
        {**common, 'name': 'sound', 'url': url, 'sha256': SUM},
        {**common, 'name': 'changed', 'url': url, 'sha256': '0' * 64},
        {**common, 'name': 'unknown_sum', 'url': url},
        {**common, 'name': 'nowhere', 'expected': {'source': 'their drive'}},
        {**common, 'name': 'own', 'file': 'checkpoints/own.safetensors', 'sha256': SUM},
    ]
    (ours / 'model_zoo.yml').write_text(yaml.safe_dump({'models': entries, 'towers': [{'name': 'a name alone'}]}))
    monkeypatch.setattr(shipped, 'ROOTS', (tmp_path / 'package',))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys: pytest.CaptureFixture, *words: str, code: int = 0) -> str:
    assert main(['download', *words]) == code
    printed = capsys.readouterr()
    return printed.err if code else printed.out


def test_fetched_checked_and_said(models: Path, capsys: pytest.CaptureFixture) -> None:
    text = said(capsys, 'sound')
    assert (models / 'checkpoints/sound.pth').read_bytes() == CONTENT
    assert f'sha256 {SUM} (as the zoo says)' in text and 'licence: MIT' in text
    assert 'next: denseclip test a/b checkpoints/sound.pth' in text
    (models / 'there.pth').unlink()
    assert 'as the zoo says' in said(capsys, 'sound')  # it is here: nothing is asked for
    assert 'no sum to compare with' not in text


def test_another_file_in_the_way_is_kept(models: Path, capsys: pytest.CaptureFixture) -> None:
    (models / 'mine.pth').write_bytes(b'mine')
    assert 'is another file' in said(capsys, 'sound', '--out', 'mine.pth', code=2)
    assert (models / 'mine.pth').read_bytes() == b'mine'
    said(capsys, 'sound', '--out', 'mine.pth', '--force')
    assert (models / 'mine.pth').read_bytes() == CONTENT


def test_what_cannot_be_had(models: Path, capsys: pytest.CaptureFixture) -> None:
    assert 'not the expected file' in said(capsys, 'changed', code=2)
    assert 'not published as a file (their drive)' in said(capsys, 'nowhere', code=2)
    assert 'did you mean sound?' in said(capsys, 'sounds', code=2)
    assert 'name a model' in said(capsys, code=2)
    assert not (models / 'checkpoints').exists() or list((models / 'checkpoints').iterdir()) == []
    assert 'no sum to compare with' in said(capsys, 'unknown_sum')


def test_a_sum_of_ones_own_stands_in_where_the_zoo_has_none(models: Path, capsys: pytest.CaptureFixture) -> None:
    assert 'not the expected file' in said(capsys, 'unknown_sum', '--sha256', '0' * 64, code=2)
    assert not (models / 'checkpoints/unknown_sum.pth').exists()
    assert f'sha256 {SUM} (as you say)' in said(capsys, 'unknown_sum', '--sha256', SUM.upper())
    assert 'is another file' in said(capsys, 'unknown_sum', '--sha256', '0' * 64, code=2)  # it is here by now
    assert '64 hexadecimal digits' in said(capsys, 'unknown_sum', '--sha256', 'abc', code=2)
    assert 'the zoo says' in said(capsys, 'sound', '--sha256', '0' * 64, code=2)


def test_bundled_weights_stay_where_they_are(models: Path, capsys: pytest.CaptureFixture) -> None:
    own = models / 'package/checkpoints/own.safetensors'
    assert str(own) in said(capsys, 'own')
    said(capsys, 'own', '--out', 'copy.safetensors')
    assert (models / 'copy.safetensors').read_bytes() == CONTENT
    assert 'exists' in said(capsys, 'own', '--out', 'copy.safetensors', code=2)
    own.write_bytes(b'half')
    assert 'is damaged' in said(capsys, 'own', code=2)


def test_the_list(models: Path, capsys: pytest.CaptureFixture) -> None:
    rows = [line.split()[0] for line in said(capsys, '--list').splitlines()]
    assert rows == ['sound', 'changed', 'unknown_sum', 'nowhere', 'own']


def test_what_is_bundled_is_sound() -> None:
    bundled = [name for name, model in zoo.zoo_models().items() if model.file]
    assert len(bundled) >= 4
    assert all(zoo.get_model(name).checked for name in bundled)
    assert all(model.sha256 or not model.file for model in zoo.zoo_models().values())
