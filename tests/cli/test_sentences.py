"""One line for every error."""

import errno
import os
import re
import signal
from pathlib import Path

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch.utils.data import DataLoader

from denseclip.apis.errors import UserError
from denseclip.cli.sentences import one_line
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
        (AssertionError(), 'unexpected AssertionError: without a message (--debug shows where)'),
    ],
)
def test_texts(error: Exception, line: str) -> None:
    assert one_line(error) == line


def test_a_full_disk_says_what_to_do() -> None:
    for code in (errno.ENOSPC, errno.EFBIG):
        assert 'make room' in one_line(OSError(code, 'No space left on device', 'iter_1.pth'))
    copying = OSError(errno.ENOSPC, 'No space left on device', 'source.png', None, 'made/target.png')
    assert "'made/target.png'" in one_line(copying) and 'source.png' not in one_line(copying)
    if Path('/dev/full').exists():
        error = raised(lambda: torch.save({'a': torch.zeros(100)}, '/dev/full'))
        assert 'disk full' in one_line(error) or 'make room' in one_line(error)


def test_an_unknown_type_names_the_nearest() -> None:
    error = raised(lambda: MODELS.build(dict(type='mmseg.EncoderDecodr')))
    assert "type='mmseg.EncoderDecodr' is no known model" in one_line(error) and 'https' not in one_line(error)
    assert 'EncoderDecoder' in one_line(raised(lambda: MODELS.build(dict(type='EncoderDecodr'))))


def test_a_check_without_words_is_shown_as_it_is_written() -> None:
    def check() -> None:
        raise AssertionError

    said = 'unexpected AssertionError: raise AssertionError in test_sentences.py (--debug shows where)'
    assert one_line(raised(check)) == said


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        (dict(type='mmseg.FCNHead', in_channels=8), 'BaseDecodeHead needs the arguments'),
        (dict(type='mmseg.ResNet', depth=18, depht=3), "ResNet takes no argument 'depht'"),
        (dict(depth=18), "a part of the config has no type: {'depth': 18}"),
        (None, 'must be dict(type=...) is a NoneType'),
        (
            dict(type='mmseg.FCNHead', in_channels=[8, 4], in_index=[0], input_transform='resize_concat', channels=4)
            | dict(num_classes=2),
            'FCNHead of mmseg needs len(in_channels) == len(in_index), but in_channels is [8, 4], in_index is [0]',
        ),
    ],
)
def test_faults_of_a_part_of_a_config(settings: dict | None, words: str) -> None:
    import mmseg.models  # noqa: F401  (registration)

    assert words in one_line(raised(lambda: MODELS.build(settings)))
    assert "has no 'model'" in one_line(raised(lambda: ConfigDict().model))


def test_a_label_without_a_class_is_said_as_such() -> None:
    error = raised(lambda: torch.nn.functional.cross_entropy(torch.zeros(1, 3), torch.tensor([7])))
    assert one_line(error).startswith('a label map holds class 7, which the model does not have')


def test_a_missing_host_stack_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ModuleNotFoundError("No module named 'mmengine'", name='mmengine')
    assert one_line(error) == "No module named 'mmengine'"  # it is here: something else is wrong with it
    monkeypatch.setattr('denseclip.compat.versions.find_spec', lambda name: None)
    assert 'needs mmengine' in one_line(error) and 'pip install' in one_line(error)


class Killed:
    """Kills the process that reads it, as systems do that have no memory left."""

    def __len__(self) -> int:
        """One item."""
        return 1

    def __getitem__(self, index: int) -> int:
        """Nothing comes of it."""
        os.kill(os.getpid(), signal.SIGKILL)
        return index


def test_a_killed_loader_is_told_with_the_cure() -> None:
    line = one_line(raised(lambda: next(iter(DataLoader(Killed(), num_workers=1)))))
    assert line.startswith('a process that loads data is gone') and 'num_workers' in line
    for text, told in (
        ('DataLoader worker (pid 12) is killed by signal: Killed. ', ' is gone (Killed), '),
        ('DataLoader worker (pid(s) 12, 13) exited unexpectedly', ' is gone, '),
    ):
        assert told in one_line(RuntimeError(text))


@pytest.mark.parametrize(
    ('module', 'said'),
    [
        ('onnxruntime.capi', "this needs onnxruntime, which is not installed: pip install 'denseclip-suite[runtime]'"),
        ('my_losses', "No module named 'my_losses'"),
    ],
)
def test_a_small_package_that_is_missing_is_not_the_host(monkeypatch, module: str, said: str) -> None:
    monkeypatch.setattr('denseclip.compat.versions.find_spec', lambda name: None)
    assert one_line(ModuleNotFoundError(f'No module named {module!r}', name=module)) == said


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
    assert re.fullmatch(r'either size or scale_factor .* \(ValueError of torch; --debug shows where\)', one_line(error))


def test_balancing_classes_of_a_data_set_that_does_not_say_them(tmp_path: Path) -> None:
    init_default_scope('mmseg')
    inner = dict(type='BaseSegDataset', data_prefix=dict(img_path=str(tmp_path)), metainfo=dict(classes=['a', 'b']))
    (tmp_path / 'a.jpg').touch()
    error = raised(lambda: DATASETS.build(dict(type='ClassBalancedDataset', dataset=inner, oversample_thr=0.5)))
    line = one_line(error)
    assert 'BaseSegDataset does not say it' in line and "type='LabelMapDataset'" in line
