"""tools/check_dataset.py: report on stdout, progress on terminals, exit code."""

import io
import runpy
from pathlib import Path

import numpy as np
import pytest
from generated import write_dataset
from PIL import Image
from rich.console import Console

from denseclip.cli import progress

REPOSITORY = Path(__file__).parents[2]
CONFIG = REPOSITORY / 'configs/denseclip/fpn_efficientnet-lite0_camvid-320x400.py'
MAIN = runpy.run_path(str(REPOSITORY / 'tools/check_dataset.py'))['main']
LOADERS = ('train', 'val', 'test')


def check(root: Path, *arguments: str, config: Path = CONFIG) -> int:
    options = [f'{split}_dataloader.dataset.data_root={root}' for split in LOADERS]
    return MAIN([str(config), *arguments, '--cfg-options', *options])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_dataset('camvid', tmp_path / 'CamVid', num_train=3, num_val=2, size=(24, 32))


def test_sound_data_exits_with_0_and_a_histogram(monkeypatch, root: Path, capsys) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(progress, 'Console', lambda **_: Console(file=screen, force_terminal=True, width=80))
    assert check(root) == 0
    out, err = capsys.readouterr()
    assert [line for line in out.splitlines() if line.startswith('==')] == ['== train ==', '== val ==', '== test ==']
    assert out.count('\nOK') == 3 and 'bicyclist' in out
    assert '3/3' in screen.getvalue() and err == ''


def test_one_bad_file_exits_with_1_and_names_it(root: Path, capsys) -> None:
    bad = root / 'valannot' / 'val_000001.png'
    Image.fromarray(np.full((24, 32), 99, np.uint8)).save(bad)
    assert check(root, '--split', 'train') == 0
    assert check(root, '--split', 'val', '--num-workers', '1') == 1
    assert f'{bad}: label ids out of range: 99' in capsys.readouterr().out


def test_panoptic_sets_are_looked_through(tmp_path: Path, capsys) -> None:
    root = write_dataset('miniworld_panoptic', tmp_path / 'own', num_train=2, num_val=1, size=(48, 64))
    config = REPOSITORY / 'configs/miniworld/fcclip_vit-xs8_miniworld-96x96.py'
    assert check(root, '--num-workers', '1', config=config) == 0
    out = capsys.readouterr().out
    assert out.count('\nOK') == 3 and 'segments, at most' in out
    png = next((root / 'annotations/panoptic_val2017').glob('*.png'))
    Image.new('RGB', (64, 48)).save(png)
    assert check(root, '--split', 'val', config=config) == 1
    assert f'{png}: segment' in capsys.readouterr().out


def test_missing_data_exits_with_1(tmp_path: Path, capsys) -> None:
    assert check(tmp_path / 'nowhere', '--split', 'train') == 1
    assert 'nowhere' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [(['gone.py'], "config file 'gone.py' does not exist"), ([str(CONFIG), '--split', 'val'], 'has no data for val')],
)
def test_what_cannot_be_audited_is_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        MAIN([*arguments, '--cfg-options', 'val_dataloader=None'])
