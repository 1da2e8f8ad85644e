"""Results are written completely or not at all, and never over earlier ones unasked."""

import errno
import os
from pathlib import Path

import pytest

from denseclip.apis.errors import UserError
from denseclip.apis.files import check_out, prepare_folder, write_file


def test_new_folder_is_made_and_left_clean(tmp_path):
    folder = prepare_folder(tmp_path / 'a' / 'b', ['x.png'])
    assert folder.is_dir()
    assert list(folder.iterdir()) == []


def test_earlier_results_are_listed_and_kept(tmp_path):
    for k in range(7):
        (tmp_path / f'{k}.png').write_text('old')
    with pytest.raises(UserError, match=r'earlier results: 0.png, 1.png, 2.png, 3.png, 4.png and 2 more.*--force'):
        prepare_folder(tmp_path, [f'{k}.png' for k in range(9)])
    assert prepare_folder(tmp_path, ['0.png'], force=True) == tmp_path
    assert prepare_folder(tmp_path, ['other.png']) == tmp_path


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / 'file').touch()
    for target in ('file', 'file/inside'):
        with pytest.raises(UserError, match='is a file, not a folder'):
            prepare_folder(tmp_path / target, [])


@pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() == 0, reason='root may write everywhere')
def test_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match='cannot write to .*Permission denied'):
        prepare_folder(tmp_path, [])
    tmp_path.chmod(0o700)


def test_no_write_permission(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(errno.EACCES, 'Permission denied')

    monkeypatch.setattr(os, 'open', refuse)
    with pytest.raises(UserError, match='cannot write to .*Permission denied. Choose another folder'):
        prepare_folder(tmp_path / 'out', [])
    with pytest.raises(UserError, match='cannot write .*x.txt'):
        write_file(tmp_path / 'x.txt', 'text')


def test_write_replaces_whole_files(tmp_path):
    path = write_file(tmp_path / 'a.txt', 'ä')
    assert write_file(path, b'new').read_bytes() == b'new'
    assert [p.name for p in tmp_path.iterdir()] == ['a.txt']
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def test_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_file(tmp_path / 'a.txt', 'old')

    def fail(*_args):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(Path, 'replace', fail)
    with pytest.raises(UserError, match='No space left'):
        write_file(path, 'new')
    assert path.read_text() == 'old'
    assert [p.name for p in tmp_path.iterdir()] == ['a.txt']


def test_a_folder_for_results_lies_apart_from_what_is_read(tmp_path):
    (tmp_path / 'shots').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'shots')
    for out in ('shots', 'shots/in/it', '.', 'link'):
        with pytest.raises(UserError, match=r'--out: .*choose'):
            check_out(tmp_path / out, [tmp_path / 'shots'])
    check_out(tmp_path / 'results', [tmp_path / 'shots'])


def test_what_a_killed_writer_left_is_gone_after_the_next_one(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Path, 'replace', lambda *_: os.kill(os.getpid(), 9))
        child = os.fork()
        if not child:
            write_file(tmp_path / 'a.txt', 'half')
    assert os.waitpid(child, 0)[1] == 9
    assert len(list(tmp_path.iterdir())) == 1
    write_file(tmp_path / 'a.txt', 'whole')
    assert [p.name for p in tmp_path.iterdir()] == ['a.txt'] and (tmp_path / 'a.txt').read_text() == 'whole'
