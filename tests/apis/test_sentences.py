"""One line for every error."""

import errno
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS
from torch.utils.data import DataLoader

from denseclip.apis.errors import UserError
from denseclip.apis.sentences import one_line
from denseclip.engine.hooks.non_finite_loss import NonFiniteLossError
from denseclip.engine.repeat import RepeatError


class Broken:
    """Fails on one of its samples, in the way that it is told."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        if index == 1:
            raise self.error
        return index


def raised(action) -> BaseException:
    with pytest.raises(BaseException) as caught:
        action()
    return caught.value


@pytest.mark.parametrize(
    ('error', 'line'),
    [
        (UserError('the folder\n  is empty'), 'the folder is empty'),
        (RepeatError('tools/train.py ended'), 'tools/train.py ended'),
        (NonFiniteLossError('loss is not finite\n  images: a.png'), 'loss is not finite images: a.png'),
        (
            FileNotFoundError(errno.ENOENT, 'No such file or directory', 'a b.png'),
            "No such file or directory: 'a b.png'",
        ),
        (PermissionError(errno.EACCES, 'Permission denied', b'\xff.png'), "Permission denied: '\\xff.png'"),
        (KeyError('classes'), 'unexpected KeyError: classes (--debug shows where)'),
        (AssertionError(), 'unexpected AssertionError: AssertionError (--debug shows where)'),
    ],
)
def test_texts(error: Exception, line: str) -> None:
    assert one_line(error) == line


def test_a_full_disk_says_what_to_do() -> None:
    for code in (errno.ENOSPC, errno.EFBIG):
        assert 'make room' in one_line(OSError(code, 'No space left on device', 'iter_1.pth'))
    if Path('/dev/full').exists():
        error = raised(lambda: torch.save({'a': torch.zeros(100)}, '/dev/full'))
        assert 'disk full' in one_line(error) or 'make room' in one_line(error)


def test_an_unknown_type_names_the_nearest() -> None:
    error = raised(lambda: MODELS.build(dict(type='mmseg.EncoderDecodr')))
    assert "type='mmseg.EncoderDecodr' is no known model" in one_line(error) and 'https' not in one_line(error)
    assert 'EncoderDecoder' in one_line(raised(lambda: MODELS.build(dict(type='EncoderDecodr'))))


def test_a_missing_host_stack_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ModuleNotFoundError("No module named 'mmengine'", name='mmengine')
    assert one_line(error) == "No module named 'mmengine'"  # it is here: something else is wrong with it
    monkeypatch.setattr('denseclip.compat.versions.find_spec', lambda name: None)
    assert 'needs mmengine' in one_line(error) and 'pip install' in one_line(error)


def test_a_lack_of_memory_is_said_as_such() -> None:
    assert one_line(MemoryError()).startswith('out of memory')
    assert one_line(raised(lambda: torch.empty(1 << 60))).startswith('out of memory')


@pytest.mark.parametrize(
    ('error', 'line'),
    [
        (UserError("picture 'a.png' is empty"), "picture 'a.png' is empty"),
        (RuntimeError('shapes differ'), 'unexpected RuntimeError: shapes differ (--debug shows where)'),
        (KeyError('img_path'), 'KeyError'),
    ],
)
def test_errors_of_loading_processes_are_told_without_their_traceback(error: Exception, line: str) -> None:
    text = one_line(raised(lambda: list(DataLoader(Broken(error), num_workers=1))))
    assert line in text and 'Traceback' not in text and 'Caught' not in text


def test_texts_of_other_packages_say_their_kind() -> None:
    error = raised(lambda: torch.nn.functional.interpolate(torch.zeros(1, 1, 2, 2)))
    assert isinstance(error, ValueError)
    assert one_line(error).startswith('unexpected ValueError: ')
