"""After a plain ``pip install`` (no PyTorch, no OpenMMLab) the command line works, and says which extra is missing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from denseclip.compat.versions import CORE, UPSTREAM

ROOT = Path(__file__).parents[2]
CORE_ONLY = """
import contextlib, io, json, sys
from importlib.machinery import PathFinder

absent, without = map(set, json.loads(sys.argv[2]))

class Core(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition('.')[0] in absent:
            return None
        return PathFinder.find_spec(name, path, target)

    @classmethod
    def find_distributions(cls, context):
        return () if context.name in without else PathFinder.find_distributions(context)

sys.meta_path[:] = [Core if finder is PathFinder else finder for finder in sys.meta_path]
from denseclip.cli.main import main

for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(words)
        except SystemExit as done:
            code = done.code
    print(json.dumps([code, out.getvalue(), err.getvalue(), 'torch' in sys.modules]))
"""
NEED_THE_HOST = [
    ['segment', 'a.png', '--classes', 'a; b', '--out', 'o'],
    ['detect', 'a.png', '--config', 'c.py', '--out', 'o'],
    ['anomaly', 'a.png', '--object', 'nut', '--out', 'o'],
    ['miniworld', 'o', '--layout', 'ade20k', '--count', '1'],
    ['new-dataset', 'folder', '--out', 'o.py'],
    ['train', 'miniworld/clip_vit-xs8_miniworld-64x64'],
    ['test', 'miniworld/maskclip_vit-xs8_zs_miniworld-128x128'],
    ['check', 'miniworld/maskclip_vit-xs8_zs_miniworld-128x128'],
    ['config', 'miniworld/clip_vit-xs8_miniworld-64x64'],
    ['convert', 'camvid', 'a', 'b'],
    ['benchmark', 'labelmap'],
    ['serve', '--port', '0'],
]
WORK_ALONE = [
    ['--version'],
    ['--help'],
    ['train', '--help'],
    ['config', '--list', 'miniworld'],
    ['convert', '--list'],
    ['download', '--list'],
    ['download', 'miniworld_clip'],
]


def absent() -> list[list[str]]:
    """Modules and distributions that a plain installation does not bring."""
    parts = [requirement for requirement in (*CORE, *UPSTREAM) if requirement.extra]
    assert {'torch', 'mmengine', 'cv2'} <= {part.module for part in parts} | {'cv2'}
    return [[*(part.module for part in parts), 'cv2'], [*(part.name for part in parts), 'opencv-python', 'mmcv']]


def test_a_plain_installation_brings_no_torch() -> None:
    """What ``pip install denseclip-suite[runtime]`` takes must not hold what exported models do without."""
    text = (ROOT / 'setup.py').read_text(encoding='utf-8')
    lists = {
        name: re.findall(r"^    '([\w.-]+)", body, re.M)
        for name, body in re.findall(r'^(\w+) = \[$(.*?)^\]', text, re.M | re.S)
    }
    extras = {part.name for part in CORE if part.extra}
    assert not {*lists['CORE'], *lists['RUNTIME']} & (extras - {'ftfy'})
    assert extras <= set(lists['TORCH'])
    assert {part.name for part in CORE if not part.extra} <= set(lists['CORE'])


@pytest.fixture(scope='module')
def answers(tmp_path_factory: pytest.TempPathFactory) -> list:
    """Exit code, output, errors, and whether torch was loaded, of every command in turn."""
    folder = tmp_path_factory.mktemp('core')
    commands = [*WORK_ALONE, *NEED_THE_HOST, ['doctor']]
    done = subprocess.run(
        [sys.executable, '-c', CORE_ONLY, json.dumps(commands), json.dumps(absent())],
        cwd=folder,
        env={'PYTHONPATH': str(ROOT), 'HOME': str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [path for path in folder.iterdir() if not path.name.startswith('.')] == []
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize('place', range(len(WORK_ALONE)), ids=lambda place: ' '.join(WORK_ALONE[place]))
def test_what_needs_no_host_works(answers: list, place: int) -> None:
    code, out, err, torch = answers[place]
    assert code == 0 and out and not err and not torch


@pytest.mark.parametrize('place', range(len(NEED_THE_HOST)), ids=lambda place: NEED_THE_HOST[place][0])
def test_what_needs_it_names_the_extra_first(answers: list, place: int) -> None:
    code, _, err, torch = answers[len(WORK_ALONE) + place]
    lines = err.strip().splitlines()
    assert code == 2 and len(lines) == 1 and not torch, err
    assert re.search(r"^denseclip: error: .* needs mmengine.*pip install 'denseclip-suite\[mm\]'", lines[0])


def test_the_doctor_says_so_too(answers: list) -> None:
    code, out, _, _ = answers[-1]
    assert code == 0 and 'with exported models' in out and "pip install 'denseclip-suite[mm]'" in out


def test_hooks_have_the_versions_of_the_tests() -> None:
    pins = set(re.findall(r'ruff==[\d.]+', (ROOT / '.pre-commit-config.yaml').read_text(encoding='utf-8')))
    assert pins == set(re.findall(r'ruff==[\d.]+', (ROOT / 'setup.py').read_text(encoding='utf-8')))
    assert len(pins) == 1
