"""The text cache: right in every bit or written anew, and never in the way of a prediction."""

from __future__ import annotations

import multiprocessing
import os
import resource
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from denseclip.clip.text import CLIPTextTower
from denseclip.clip.text_bank import TextBank
from denseclip.clip.text_cache import TextCache
from denseclip.weights import read_checkpoint

WORDS = 'road; car=automobile, van; sky'
ROWS, WIDTH = 5, 8


@pytest.fixture
def tower() -> CLIPTextTower:
    torch.manual_seed(0)
    return CLIPTextTower.create(context_length=30, width=16, heads=2, layers=1, embed_dim=WIDTH).eval()


def change(file: Path, alter: Callable[[Tensor], Tensor]) -> None:
    """Other rows in an entry that is sound otherwise, with all that it says about itself."""
    meta = read_checkpoint(file).meta
    save_file({'embeddings': alter(load_file(file)['embeddings']).contiguous()}, file, metadata=meta)


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(bytes(content))


def with_nan(rows: Tensor) -> Tensor:
    return rows.index_fill(0, torch.tensor([1]), torch.nan)


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    'zero-filled file': (lambda f: f.write_bytes(bytes(f.stat().st_size)), 'unusable'),
    'zero-filled rows': (lambda f: change(f, torch.zeros_like), 'rows are zero'),
    'one row of zeros': (lambda f: change(f, lambda x: x * torch.tensor([1.0, 1, 1, 1, 0])[:, None]), 'rows are zero'),
    'rows missing': (lambda f: change(f, lambda x: x[:-1]), r'shape is \(4, 8\), not \(5, 8\)'),
    'another width': (lambda f: change(f, lambda x: x[:, :-1]), r'shape is \(5, 7\), not \(5, 8\)'),
    'another type': (lambda f: change(f, torch.Tensor.half), r'torch\.float16, not torch\.float32'),
    'whole numbers': (lambda f: change(f, torch.Tensor.int), r'torch\.int32'),
    'NaN': (lambda f: change(f, with_nan), 'NaN'),
    'rows in another order': (lambda f: change(f, lambda x: x.flip(0)), 'checksum'),
    'a flipped bit in the rows': (lambda f: flip(f, -3), 'checksum'),
    'a flipped bit in the header': (lambda f: flip(f, 12), 'unusable'),
    'cut': (lambda f: f.write_bytes(f.read_bytes()[:-8]), 'damaged or truncated'),
    'empty': (lambda f: f.write_bytes(b''), 'is empty'),
    'a pickle of another protocol': (lambda f: f.write_bytes(b'\x80\x00'), 'no safetensors file'),
    'a checkpoint of PyTorch': (lambda f: torch.save({'embeddings': torch.ones(5, 8)}, f), 'no safetensors file'),
    'another file': (lambda f: save_file({'x': torch.ones(2)}, f), 'no embeddings'),
    'no checksum': (lambda f: save_file(load_file(f), f), 'checksum'),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_a_damaged_entry_is_noticed_and_written_anew_with_one_warning(
    tower: CLIPTextTower, tmp_path: Path, fault: str
) -> None:
    damage, message = FAULTS[fault]
    right = TextBank(tower, cache_dir=tmp_path).encode(WORDS).embeddings
    (file,) = tmp_path.iterdir()
    rows = load_file(file)['embeddings'].clone()
    damage(file)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        found = TextBank(tower, cache_dir=tmp_path).encode(WORDS).embeddings
    assert torch.equal(found, right)
    assert len(said) == 1 and 'unusable and will be written anew' in str(said[0].message)
    with pytest.warns(UserWarning, match=message):
        warnings.warn(said[0].message, stacklevel=1)
    assert torch.equal(load_file(file)['embeddings'], rows)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert torch.equal(TextBank(tower, cache_dir=tmp_path).encode(WORDS).embeddings, right)


@pytest.mark.parametrize('seed', range(8))
def test_any_flipped_bit_of_the_rows(tower: CLIPTextTower, tmp_path: Path, seed: int) -> None:
    right = TextBank(tower, cache_dir=tmp_path).encode(WORDS).embeddings
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    place = int(torch.randint(ROWS * WIDTH * 4, (1,), generator=torch.Generator().manual_seed(seed)))
    content[len(content) - ROWS * WIDTH * 4 + place] ^= 1 << seed
    file.write_bytes(bytes(content))
    with pytest.warns(UserWarning, match='unusable'):
        assert torch.equal(TextBank(tower, cache_dir=tmp_path).encode(WORDS).embeddings, right)


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file of this process may grow beyond some bytes: the writer is told so by the system, as by a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def no_folder(folder: Path) -> Path:
    (folder / 'file').touch()
    return folder / 'file' / 'cache'


@pytest.mark.parametrize('room', [0, 100, 300])
def test_a_full_disk_stops_no_prediction(tower: CLIPTextTower, tmp_path: Path, room: int) -> None:
    right = TextBank(tower).encode(WORDS).embeddings
    bank = TextBank(tower, cache_dir=tmp_path)
    with warnings.catch_warnings(record=True) as said, full_disk(room):
        warnings.simplefilter('always')
        assert torch.equal(bank.encode(WORDS).embeddings, right)
        bank.encode('tree; dog')
    assert [str(w.message).split(':')[0] for w in said] == ['text embeddings are not cached on disk']  # said once
    assert list(tmp_path.iterdir()) == []
    assert torch.equal(TextBank(tower, cache_dir=tmp_path).encode(WORDS).embeddings, right)


def test_a_path_that_is_no_folder(tower: CLIPTextTower, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match='not cached on disk'):
        assert len(TextBank(tower, cache_dir=no_folder(tmp_path)).encode(WORDS)) == 3


def test_a_folder_where_the_file_should_be(tower: CLIPTextTower, tmp_path: Path) -> None:
    bank = TextBank(tower, cache_dir=tmp_path)
    assert bank.cache is not None
    key = bank.key(('road', 'car', 'automobile', 'van', 'sky'))
    bank.cache.path(key).mkdir()
    with pytest.warns(UserWarning, match='not cached on disk'):
        assert len(bank.encode(WORDS)) == 3


def test_a_folder_that_takes_and_shows_nothing(
    tower: CLIPTextTower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write everywhere, so the system's answers are put in by hand."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(Path, 'is_file', refuse)
    monkeypatch.setattr('tempfile.mkdtemp', refuse)
    with pytest.warns(UserWarning, match='not cached on disk: no permission'):
        assert len(TextBank(tower, cache_dir=tmp_path).encode(WORDS)) == 3


def write_often(folder: Path, seed: int) -> None:
    cache, rows = TextCache(folder), torch.full((ROWS, WIDTH), 0.5)
    for _ in range(60):
        cache.write('key', rows, {'writer': seed})
    os._exit(0)


def test_processes_that_write_at_once_leave_whole_entries(tmp_path: Path) -> None:
    """No reader ever sees a half, and nothing temporary stays."""
    context = multiprocessing.get_context('fork')
    writers = [context.Process(target=write_often, args=(tmp_path, seed)) for seed in (0, 1)]
    for writer in writers:
        writer.start()
    cache, seen = TextCache(tmp_path), 0
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        while any(writer.is_alive() for writer in writers):
            rows = cache.read('key', (ROWS, WIDTH), torch.float32)
            seen += rows is not None
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert seen and [p.name for p in tmp_path.iterdir()] == ['key.safetensors']


def test_bfloat16_rows_have_a_checksum_too(tmp_path: Path) -> None:
    cache, rows = TextCache(tmp_path), torch.randn(3, 4).bfloat16()
    cache.write('key', rows, {})
    found = cache.read('key', (3, 4), torch.bfloat16)
    assert found is not None and torch.equal(found, rows)


def test_words_that_change_with_every_call_do_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read last stays; another program's files are left alone."""
    for name, value in (('_MOST_ENTRIES', 20), ('_EVERY', 5)):
        monkeypatch.setattr(f'denseclip.clip.text_cache.{name}', value)
    cache, rows = TextCache(tmp_path), torch.ones(1, 4)
    (tmp_path / 'notes.txt').touch()
    for number in range(60):
        cache.write(f'key{number}', rows, {})
        os.utime(cache.path(f'key{number}'), (1000 + number, 1000 + number))
        assert cache.read('key0', (1, 4), rows.dtype) is not None
    left = {path.name for path in tmp_path.glob('*.safetensors')}
    assert 18 <= len(left) <= 25 and {'key0.safetensors', 'key59.safetensors'} <= left
    assert (tmp_path / 'notes.txt').exists()
    monkeypatch.setattr('denseclip.clip.text_cache._MOST_BYTES', 5 * cache.path('key0').stat().st_size)
    for number in range(60, 66):
        cache.write(f'key{number}', rows, {})
    assert len(list(tmp_path.glob('*.safetensors'))) <= 5 + 5
