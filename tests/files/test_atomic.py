"""Files are the old ones or the new ones, and errors name them."""

from __future__ import annotations

import multiprocessing
import os
import resource
import threading
import time
from pathlib import Path

import pytest
import torch

from denseclip.files.atomic import replacing, write_text


@pytest.mark.parametrize('error', [OSError(28, 'No space left on device'), KeyboardInterrupt(), ValueError('x')])
def test_an_error_leaves_the_old_file_alone(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / 'a.txt'
    write_text(target, 'old')
    with pytest.raises(type(error)), replacing(target) as partial:
        partial.write_text('half')
        raise error
    assert target.read_text() == 'old' and list(tmp_path.iterdir()) == [target]


def test_errors_name_the_file_and_not_the_unfinished_one(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r'a\.txt') as caught, replacing(tmp_path / 'a.txt') as partial:
        raise OSError(28, 'No space left on device', str(partial))
    assert caught.value.filename == str(tmp_path / 'a.txt')
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / 'gone/a.txt') as partial:
        partial.write_text('x')
    assert caught.value.filename == str(tmp_path / 'gone/a.txt')


def test_two_writers_of_a_file_do_not_mix(tmp_path: Path) -> None:
    """The later one waits: never is there a file of both, and each finds its own work whole."""
    target, first_is_in = tmp_path / 'a.txt', threading.Event()

    def write(text: str) -> None:
        with replacing(target) as partial:
            first_is_in.set()
            for _ in range(5):
                with partial.open('a') as file:
                    file.write(text)
                time.sleep(0.01)

    others = [threading.Thread(target=write, args=(letter,)) for letter in 'abcd']
    for other in others:
        other.start()
    first_is_in.wait()
    while any(other.is_alive() for other in others):
        assert not target.exists() or target.read_text() in {5 * letter for letter in 'abcd'}
    assert list(tmp_path.iterdir()) == [target]


def _save_under_a_limit(target: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        with replacing(target) as partial:
            torch.save({'a': torch.zeros(100_000)}, partial)
    except OSError as error:
        os._exit(0 if error.filename == str(target) and not list(target.parent.iterdir()) else 2)
    os._exit(3)


def test_a_checkpoint_that_does_not_fit_the_disk_is_named_and_removed(tmp_path: Path) -> None:
    child = multiprocessing.get_context('fork').Process(target=_save_under_a_limit, args=(tmp_path / 'iter_1.pth',))
    child.start()
    child.join()
    assert child.exitcode == 0
