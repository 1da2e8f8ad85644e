"""Every tool says in one line what it cannot do, with exit code 2, and leaves nothing behind."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = sorted((ROOT / 'tools').glob('*.py'))
CONFIG = str(ROOT / 'tests/engine/toy_fpn.py')


def load_tool(name: str) -> ModuleType:
    """Import a tool by its file."""
    path = ROOT / 'tools' / f'{name}.py'
    spec = importlib.util.spec_from_file_location(f'tool_{path.stem}', path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def refusal(capsys: pytest.CaptureFixture, name: str, *arguments: str) -> str:
    """The line that a tool prints when it cannot do what it is asked."""
    try:
        code = load_tool(name).main(list(arguments))
    except SystemExit as done:
        code = done.code
    assert code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if ': error: ' in line]
    assert len(lines) == 1
    return lines[0]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, and beside it what cannot be used."""
    (tmp_path / 'syntax.py').write_text('model = dict(\n')
    (tmp_path / 'name.py').write_text('model = dict(type=undefined)\n')
    (tmp_path / 'base.py').write_text("_base_ = ['./gone.py']\n")
    (tmp_path / 'bytes.py').write_bytes(bytes(range(256)))
    (tmp_path / 'config.txt').write_text('model = dict()\n')
    (tmp_path / 'empty.pth').touch()
    (tmp_path / 'text.safetensors').write_text('not a weight file')
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    return tmp_path


@pytest.mark.parametrize('path', TOOLS, ids=lambda path: path.stem)
def test_every_tool_has_the_common_main_function(path: Path) -> None:
    """The wrapper is what the cases below show on some tools; ``--debug`` stands in the help of all."""
    text = path.read_text()
    assert re.search(r'@program\ndef main\(argv: list\[str\]\) -> (int|None):\n', text), path
    assert text.endswith("\n\nif __name__ == '__main__':\n    sys.exit(main())\n")
    assert 'add_debug_option(' in text or 'run_alone(' in text or path.stem == 'demo'
    assert 'DictAction' not in text and 'sys.exit(f' not in text


CASES = [
    ('train', ['../syntax.py'], r"config file '\.\./syntax\.py' cannot be read: .*never closed"),
    ('train', ['../name.py'], 'NameError.*undefined'),
    ('train', ['../base.py'], 'gone.py'),
    ('train', ['../bytes.py'], 'bytes.py'),
    ('train', ['../config.txt'], r'must end in \.py'),
    ('train', ['..'], 'is a folder; that folder holds .*syntax.py'),
    ('train', [CONFIG, '--cfg-options', 'banana'], r"takes KEY=VALUE.*'banana'"),
    ('train', [CONFIG, '--cfg-options', 'trian_cfg.max_iters=2'], "did you mean 'train_cfg'"),
    ('train', [CONFIG, '--cfg-options', 'param_scheduler.9.end=2'], 'param_scheduler.9.end'),
    ('train', [CONFIG], "'data/CamVid' does not exist.*git clone .*denseclip convert camvid"),
    ('test', [CONFIG, '../empty.pth'], "'data/CamVid' does not exist"),
    ('test', [CONFIG], 'name the checkpoint'),
    ('test', [CONFIG, 'checkpoints/miniworld_dinoiser.safetensors'], "'data/CamVid' does not exist"),
    ('train', [CONFIG, '--cfg-options', 'model=None'], r'has model=None: it takes model=dict\(type=...\)'),
    ('train', [CONFIG, '--seed', '-1'], '--seed -1: it takes a whole number'),
    ('check_dataset', ['../gone.py'], 'does not exist'),
    (
        'check_dataset',
        [CONFIG, '--cfg-options', 'train_dataloader.dataset.type=CamVid'],
        'no known dataset.*CamVidData',
    ),
    ('benchmark', ['../syntax.py'], 'cannot be read'),
    ('benchmark', ['text', '--model', 'RN5'], 'RN5'),
    ('benchmark_maft', ['../gone.py'], 'does not exist'),
    ('benchmark_train_step', ['../gone.py'], 'does not exist'),
    ('benchmark_ovseg', ['--model', 'RN5'], 'RN5'),
    ('benchmark_anomaly_views', ['--model', 'RN5'], 'RN5'),
    ('benchmark_open_vocab', ['--presets', 'maskclop'], 'maskclop'),
    ('benchmark_open_vocab', [], '--list shows them'),
    ('compare_mask_models', ['deeplab'], 'deeplab'),
    ('adapt_miniworld', ['--clip', '../gone'], 'is no folder of a CLIP'),
    ('convert_checkpoint', ['../empty.pth', 'out.pth'], 'empty.pth'),
    ('export_pretrained', [CONFIG, '../empty.pth', 'out'], 'empty.pth'),
    ('publish_model', ['../empty.pth', 'out.safetensors'], 'empty.pth'),
    ('publish_model', ['../gone.pth', 'out.safetensors'], 'gone.pth'),
    ('mine_mask_pairs', ['labels', 'ADE20K', '--maps', 'm', '--images', 'i', '--out', 'o'], 'no known dataset'),
    (
        'mine_mask_pairs',
        ['labels', 'ADE20KDataset', '--maps', 'm', '--images', 'i', '--out', 'o'],
        'ADEChallengeData2016.zip',
    ),
    ('repeat', ['../gone.py'], 'does not exist'),
    ('demo', ['../gone.png', '--classes', 'a; b', '--out', '../empty.pth'], 'empty.pth'),
]


@pytest.mark.parametrize(('name', 'arguments', 'words'), CASES, ids=[f'{c[0]}-{n}' for n, c in enumerate(CASES)])
def test_what_cannot_be_done_is_one_line(
    name: str, arguments: list[str], words: str, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    line = refusal(capsys, name, *arguments)
    assert re.search(words, line), line
    assert list((folder / 'here').iterdir()) == []


def test_debug_shows_where(folder: Path) -> None:
    with pytest.raises(ValueError, match='cannot be read'):
        load_tool('train').main(['../syntax.py', '--debug'])


def test_ctrl_c_ends_a_tool_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr('denseclip.engine.launch.train', interrupted)
    with pytest.raises(SystemExit) as done:
        load_tool('train').main([CONFIG])
    assert done.value.code == 130 and capsys.readouterr().err == 'train.py: interrupted\n'


LIGHT = (
    'train',
    'test',
    'check_dataset',
    'convert_checkpoint',
    'benchmark',
    'repeat',
    'publish_model',
    'export_pretrained',
)
WITHOUT = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
class NoHost:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('torch', 'mmengine', 'mmcv', 'mmseg', 'mmdet'):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, NoHost())
for tool in sys.argv[2:]:
    for arguments in (['--help'], ['--nonsense']):
        sys.argv = [tool, *arguments]
        try:
            runpy.run_path(tool, run_name='__main__')
        except SystemExit as done:
            print('CODE', tool, done.code)
"""


def test_tools_say_what_they_take_without_loading_torch() -> None:
    """Help and wrong options come at once, also where the host stack is not installed."""
    paths = [str(path) for path in TOOLS if path.stem in LIGHT]
    command = [sys.executable, '-c', WITHOUT, str(ROOT), *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    codes = [line.rsplit(' ', 1)[1] for line in done.stdout.splitlines() if line.startswith('CODE')]
    assert codes == ['0', '2'] * len(paths), done.stderr


@pytest.mark.parametrize('rank', ['0', '1'])
def test_each_process_of_a_distributed_run_says_its_line(
    rank: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Before it waits for the others: the variables are torchrun's."""
    for name, value in {'WORLD_SIZE': '2', 'RANK': rank, 'LOCAL_RANK': rank}.items():
        monkeypatch.setenv(name, value)
    line = refusal(capsys, 'train', CONFIG, '--launcher', 'pytorch')
    assert line.startswith(f"train.py: error: process {rank} of 2: train data: 'data/CamVid'")
