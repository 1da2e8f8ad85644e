"""Configs and weights of the package are found by name, and never in place of a user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from denseclip.files import shipped
from denseclip.weights import resolve

ROOT = Path(__file__).parents[2]
NAME = 'miniworld/clip_vit-xs8_miniworld-64x64'


@pytest.mark.parametrize('typed', [NAME, f'{NAME}.py', f'configs/{NAME}.py', f'configs/{NAME}', NAME.split('/')[1]])
def test_names_of_a_config(typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped.config_file(typed) == ROOT / f'configs/{NAME}.py'


def test_a_file_of_the_user_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mine = Path('configs/miniworld') / f'{Path(NAME).name}.py'
    mine.parent.mkdir(parents=True)
    mine.touch()
    assert shipped.config_file(mine) == mine
    Path('checkpoints/miniworld_clip').mkdir(parents=True)
    assert resolve('local-dir:checkpoints/miniworld_clip') == Path('checkpoints/miniworld_clip')


def test_weights_of_the_package_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve('local-dir:checkpoints/miniworld_clip') == ROOT / 'checkpoints/miniworld_clip'
    assert resolve('checkpoints/miniworld_dinoiser.safetensors').is_file()


@pytest.mark.parametrize('typed', ['configs/../setup.py', 'setup.py', '../configs', '', '/etc/passwd', 'denseclip'])
def test_nothing_else_is_reached(typed: str) -> None:
    assert shipped.shipped(typed) is None


def test_every_config_of_a_model_is_listed_and_none_else() -> None:
    files = {path for path in (ROOT / 'configs').glob('*/*.py') if path.parent.name != '_base_'}
    assert set(shipped.shipped_configs().values()) == files
