"""CamVid converter: checks everything first, then writes all or nothing."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from generated import write_dataset
from PIL import Image

from denseclip.cli.main import main
from denseclip.cli.sentences import one_line
from denseclip.datasets.converters import ConversionError, convert_camvid
from denseclip.datasets.converters.layout import complete_or_absent
from denseclip.files.scratch import MARKER

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_dataset('camvid', tmp_path / 'checkout' / 'CamVid', num_train=3, num_val=2, size=(24, 32))


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name.startswith('.'))


@pytest.mark.parametrize('link', [False, True])
def test_copies_or_links_all_pairs(source: Path, tmp_path: Path, link: bool) -> None:
    target = tmp_path / 'data' / 'CamVid'
    assert convert_camvid(source.parent, target, link=link) == {'train': 3, 'val': 2, 'test': 2}
    made = target / 'trainannot' / 'train_000000.png'
    assert made.is_symlink() == link
    assert made.read_bytes() == (source / 'trainannot' / 'train_000000.png').read_bytes()
    assert leftovers(target.parent) == []


def test_existing_target_needs_force(source: Path, tmp_path: Path) -> None:
    target = tmp_path / 'CamVid'
    with complete_or_absent(target) as staging:
        (staging / 'old').touch()
    with pytest.raises(ConversionError, match='--force'):
        convert_camvid(source, target)
    assert (target / 'old').exists()
    convert_camvid(source, target, force=True)
    assert not (target / 'old').exists() and (target / 'val').is_dir()
    assert leftovers(tmp_path) == []


def break_pair(source: Path) -> None:
    (source / 'valannot' / 'val_000001.png').unlink()


def break_orphan(source: Path) -> None:
    (source / 'train' / 'train_000002.png').unlink()


def break_ids(source: Path) -> None:
    Image.fromarray(np.full((24, 32), 12, np.uint8)).save(source / 'trainannot' / 'train_000001.png')


def break_size(source: Path) -> None:
    Image.fromarray(np.zeros((10, 10), np.uint8)).save(source / 'testannot' / 'test_000000.png')


def break_file(source: Path) -> None:
    path = source / 'train' / 'train_000000.png'
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize(
    ('damage', 'named'),
    [
        (break_pair, 'val_000001.png: has no label map'),
        (break_orphan, 'train_000002.png: has no picture'),
        (break_ids, r'train_000001.png: ids \[12\]'),
        (break_size, r'test_000000.png: size \(10, 10\)'),
        (break_file, 'train_000000.png: cannot be read'),
    ],
)
def test_damaged_source_is_named_and_nothing_written(source: Path, tmp_path: Path, damage, named: str) -> None:
    damage(source)
    with pytest.raises(ConversionError, match=named):
        convert_camvid(source, tmp_path / 'CamVid')
    assert not (tmp_path / 'CamVid').exists() and leftovers(tmp_path) == []


def test_wrong_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match='no folder train, trainannot'):
        convert_camvid(tmp_path, tmp_path / 'CamVid')


def test_source_is_never_the_target(source: Path) -> None:
    with pytest.raises(ConversionError, match='same folder'):
        convert_camvid(source, source, force=True)
    assert (source / 'train').is_dir()


def test_interrupted_writing_leaves_the_old_target(tmp_path: Path) -> None:
    target = tmp_path / 'CamVid'
    with complete_or_absent(target) as staging:
        (staging / 'old').touch()
    with pytest.raises(KeyboardInterrupt), complete_or_absent(target, force=True) as staging:
        (staging / 'half').touch()
        raise KeyboardInterrupt
    assert sorted(p.name for p in target.iterdir()) == [MARKER, 'old'] and leftovers(tmp_path) == []


@pytest.mark.slow
def test_a_full_disk_is_told_by_the_names_of_the_target(tmp_path: Path) -> None:
    """A write into an open file names none, and others the folder that is gone by then."""
    target, full = tmp_path / 'CamVid', (errno.ENOSPC, os.strerror(errno.ENOSPC))
    for names, told in (((), ''), (('{new}/a.png',), '/a.png'), (('source.png', None, '{new}/b.png'), '/b.png')):
        with pytest.raises(OSError, match='No space') as caught, complete_or_absent(target) as new:
            raise OSError(*full, *(name and name.format(new=new) for name in names))
        assert one_line(caught.value) == f"{full[1]}: '{target}{told}'; make room on the disk, or write to another one"
    assert leftovers(tmp_path) == []


def test_command_reports_and_exits(source: Path, tmp_path: Path, capsys) -> None:
    """As a program, which succeeds; then once more in this process, which refuses."""
    arguments = ['convert', 'camvid', str(source), str(tmp_path / 'out')]
    environment = {**os.environ, 'PYTHONPATH': str(REPOSITORY)}
    command = [sys.executable, '-m', 'denseclip', *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0 and '3 train, 2 val, 2 test' in done.stdout, done.stderr
    assert main(arguments) == 2 and '--force' in capsys.readouterr().err
