"""Weight files are written whole or not at all, and hold numbers only."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from denseclip.weights import (
    WeightFileError,
    read_state_dict,
    usable_target,
    write_safetensors,
)
from denseclip.weights.writing import whole_file

BAD: dict[str, tuple[Callable[[], Tensor], str]] = {
    'meta': (lambda: torch.empty(2, device='meta'), "'layer.bad' without its numbers"),
    'sparse': (lambda: torch.eye(3).to_sparse(), "'layer.bad' as a sparse_coo tensor"),
    'compressed': (lambda: torch.eye(3).to_sparse_csr(), "'layer.bad' as a sparse_csr tensor"),
    'NaN': (lambda: torch.tensor([1.0, torch.nan]), "1 of 2 numbers of 'layer.bad' as NaN"),
    'half NaN': (lambda: torch.tensor([1.0, torch.nan]).half(), "1 of 2 numbers of 'layer.bad' as NaN"),
}


@pytest.mark.parametrize('kind', BAD)
def test_what_is_no_weight_is_refused_and_nothing_is_left(tmp_path: Path, kind: str) -> None:
    make, message = BAD[kind]
    with pytest.raises(WeightFileError, match=rf"w\.safetensors' holds {message}"):
        write_safetensors({'layer.good': torch.ones(2), 'layer.bad': make()}, tmp_path / 'w.safetensors')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('room', [0, 64, 200])
def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path: Path, room: int) -> None:
    path = write_safetensors({'w': torch.ones(2)}, tmp_path / 'w.safetensors')
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(
            OSError, match=r"w\.safetensors' could not be written \(.*\); nothing is left of it"
        ) as caught:
            write_safetensors({'w': torch.ones(5000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert '\n' not in str(caught.value)
    assert torch.equal(read_state_dict(path)['w'], torch.ones(2))
    assert [p.name for p in tmp_path.iterdir()] == ['w.safetensors']


def test_targets_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    (tmp_path / 'folder.safetensors').mkdir()
    with pytest.raises(OSError, match=r"folder\.safetensors' is a folder"):
        usable_target(tmp_path / 'folder.safetensors')
    with pytest.raises(OSError, match=r"'.*file' is no folder"):
        usable_target(tmp_path / 'file' / 'w.safetensors')
    for path in (tmp_path / 'folder.safetensors', tmp_path / 'file' / 'w.safetensors', tmp_path / ('n' * 300)):
        with pytest.raises(OSError, match='could not be written'):
            write_safetensors({'w': torch.ones(2)}, path)
    assert usable_target(tmp_path / 'new' / 'w.safetensors')
    assert not (tmp_path / 'new').exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ['file', 'folder.safetensors']


def test_others_may_read_it_and_what_a_killed_writer_left_goes(tmp_path: Path) -> None:
    path = tmp_path / 'w.safetensors'
    child = os.fork()
    if not child:
        with whole_file(path) as temporary:
            temporary.write_text('half')
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL and not path.exists() and any(tmp_path.iterdir())
    write_safetensors({'w': torch.ones(2)}, path)
    (tmp_path / 'plain').touch()
    assert path.stat().st_mode == (tmp_path / 'plain').stat().st_mode
    assert sorted(p.name for p in tmp_path.iterdir()) == ['plain', 'w.safetensors']
