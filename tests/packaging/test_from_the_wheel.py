"""What a user of the wheel does, without a checkout: every command over files that came with the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE', 'denseclip', 'configs', 'checkpoints', 'requirements')
ITERATIONS = (
    'train_cfg.max_iters=5',
    'train_dataloader.num_workers=0',
    'train_dataloader.batch_size=4',
    'default_hooks.checkpoint.interval=5',
)
ZERO_SHOT = 'miniworld/maskclip_vit-xs8_zs_miniworld-128x128'


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The content of a wheel, built from a copy of the sources."""
    folder = tmp_path_factory.mktemp('wheel')
    (folder / 'source').mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / 'source' / name, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy(ROOT / name, folder / 'source' / name)
    options = ('--no-deps', '--no-build-isolation', '-q', '-w', str(folder))
    subprocess.run(
        [sys.executable, '-m', 'pip', 'wheel', '.', *options], cwd=folder / 'source', check=True, timeout=300
    )
    (built,) = folder.glob('*.whl')
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / 'installed')
    return folder / 'installed'


@pytest.fixture
def denseclip(wheel, tmp_path):
    """Run commands of the wheel in an empty folder."""
    environment = {**os.environ, 'PYTHONPATH': str(wheel)}

    def run(*words):
        done = subprocess.run(
            [sys.executable, '-m', 'denseclip', *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f'{words}: {done.stdout[-2000:]}\n{done.stderr[-4000:]}'
        return done.stdout

    found = subprocess.run(
        [sys.executable, '-c', 'import denseclip; print(denseclip.__file__)'],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(found.stdout.strip()).is_relative_to(wheel)
    return run


@pytest.mark.slow
def test_data_are_drawn_checked_trained_on_and_tested_on(denseclip, tmp_path):
    denseclip('miniworld', 'data/miniworld', '--layout', 'ade20k', '--count', '4', '--val-count', '2')
    assert 'OK' in denseclip('check', ZERO_SHOT)
    denseclip('train', 'miniworld/clip_vit-xs8_miniworld-64x64', '--work-dir', 'work', '--cfg-options', *ITERATIONS)
    assert list((tmp_path / 'work').glob('iter_5*'))
    assert 'mIoU' in denseclip('test', ZERO_SHOT)
