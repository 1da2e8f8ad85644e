"""One reader for every weight file, and a writer that leaves no halves."""

import os
import pickle
import subprocess
import sys
import types

import pytest
import torch
from mmengine.logging import HistoryBuffer

from denseclip.weights import (
    UntrustedWeightsError,
    WeightFileError,
    read_checkpoint,
    read_state_dict,
    write_safetensors,
    writing,
)

pytestmark = pytest.mark.filterwarnings('ignore:.*torch.jit.*:FutureWarning')


@pytest.fixture
def state():
    return {'a.weight': torch.randn(3, 2), 'a.bias': torch.randn(3), 'steps': torch.tensor(7)}


def assert_same(left, right):
    assert list(left) == list(right) or set(left) == set(right)
    for key in right:
        assert torch.equal(left[key], right[key]), key


def test_safetensors_round_trip_with_metadata(tmp_path, state):
    path = write_safetensors(state, tmp_path / 'new' / 'w.safetensors', {'classes': ['road', 'sky'], 'note': 'x'})
    checkpoint = read_checkpoint(path)
    assert checkpoint.format == 'safetensors'
    assert checkpoint.meta == {'classes': '["road", "sky"]', 'note': 'x'}
    assert_same(checkpoint.state_dict, state)


def test_writer_takes_views_and_shared_tensors(tmp_path):
    base = torch.arange(6.0).reshape(2, 3)
    path = write_safetensors(
        {'x': base, 'same': base, 'turned': base.t(), 'part': base[:, 1]}, tmp_path / 'v.safetensors'
    )
    assert_same(read_state_dict(path), {'x': base, 'same': base, 'turned': base.t(), 'part': base[:, 1]})


def test_interrupted_write_leaves_the_old_file(tmp_path, state, monkeypatch):
    path = write_safetensors(state, tmp_path / 'w.safetensors')
    before = path.read_bytes()

    def killed(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(writing.os, 'fsync', killed)
    with pytest.raises(KeyboardInterrupt):
        write_safetensors({'other': torch.zeros(99)}, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ['w.safetensors']


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_no_permission_is_named(tmp_path, state):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match='no permission to write'):
        write_safetensors(state, tmp_path / 'w.safetensors')


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('wrapper', [None, 'state_dict', 'model'])
def test_torch_files_are_unwrapped(tmp_path, state, wrapper, zipped):
    content = {f'module.{k}': v for k, v in state.items()}
    if wrapper:
        content = {wrapper: content, 'meta': {'epoch': 3}}
    torch.save(content, tmp_path / 'w.pth', _use_new_zipfile_serialization=zipped)
    checkpoint = read_checkpoint(tmp_path / 'w.pth')
    assert_same(checkpoint.state_dict, state)
    assert checkpoint.meta == ({'epoch': 3} if wrapper else {})


def test_format_is_told_from_the_content_not_the_name(tmp_path, state):
    write_safetensors(state, tmp_path / 'renamed.pth')
    assert_same(read_state_dict(tmp_path / 'renamed.pth'), state)


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f'touch {self.target}',)


@pytest.mark.parametrize('zipped', [True, False, 'plain pickle'])
def test_code_in_a_pickle_is_not_run(tmp_path, state, zipped):
    target, path = tmp_path / 'ran', tmp_path / 'evil.pth'
    content = {'state_dict': state, 'extra': Bomb(target)}
    if zipped == 'plain pickle':
        path.write_bytes(pickle.dumps(content['extra'], protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UntrustedWeightsError, match=r'evil\.pth.*system.*trust=True'):
        read_state_dict(path)
    assert not target.exists()


def test_trust_reads_what_was_refused(tmp_path, state):
    target, path = tmp_path / 'ran', tmp_path / 'odd.pth'
    torch.save({'state_dict': state, 'extra': Bomb(target)}, path)
    assert_same(read_state_dict(path, trust=True), state)
    assert target.exists()


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'.*gone\.pth' does not exist"):
        read_state_dict(tmp_path / 'gone.pth')


def test_empty_file(tmp_path):
    (tmp_path / 'empty.pth').touch()
    with pytest.raises(WeightFileError, match=r"empty\.pth' is empty \(0 bytes\)"):
        read_state_dict(tmp_path / 'empty.pth')


def test_folder_names_its_files(tmp_path, state):
    write_safetensors(state, tmp_path / 'clip.safetensors')
    with pytest.raises(WeightFileError, match=r'is a folder.*clip\.safetensors.*local-dir:'):
        read_state_dict(tmp_path)


@pytest.mark.parametrize('kind', ['safetensors', 'zip', 'legacy', 'torchscript'])
@pytest.mark.parametrize('kept', [0.3, 0.95])
def test_truncated_file(tmp_path, state, kind, kept):
    path = tmp_path / 'cut.bin'
    state = {**state, 'big': torch.randn(50, 50)}
    if kind == 'safetensors':
        write_safetensors(state, path)
    elif kind == 'torchscript':
        torch.jit.save(torch.jit.script(torch.nn.Linear(50, 50)), str(path))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == 'zip')
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(WeightFileError, match=r"cut\.bin' is .*(damaged|truncated)"):
        read_state_dict(path)


@pytest.mark.parametrize('kept', [1, 8, 29])  # end in IndexError, EOFError, struct.error
def test_a_file_of_the_old_format_cut_in_its_head(tmp_path, state, kept):
    path = tmp_path / 'cut.pth'
    torch.save(state, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WeightFileError, match=r"cut\.pth' is damaged or truncated"):
        read_state_dict(path)


class Foreign:
    """Pickled by a name that the reader does not have."""

    def __reduce__(self):
        return gone.Thing, ()


gone = types.ModuleType('gone')
gone.Thing = type('Thing', (), {'__module__': 'gone'})


def test_trusted_file_whose_code_is_missing(tmp_path, state, monkeypatch):
    monkeypatch.setitem(sys.modules, 'gone', gone)
    torch.save({'state_dict': state, 'extra': Foreign()}, tmp_path / 'theirs.pth')
    monkeypatch.delitem(sys.modules, 'gone')
    with pytest.raises(
        WeightFileError, match=r"theirs\.pth' needs code that is not installed here \(No module named 'gone'"
    ):
        read_state_dict(tmp_path / 'theirs.pth', trust=True)


@pytest.mark.parametrize('content', [b'<html>404 Not Found</html>', b'version https://git-lfs.github.com/spec/v1\n'])
def test_file_of_no_weight_format(tmp_path, content):
    (tmp_path / 'page.pth').write_bytes(content)
    with pytest.raises(WeightFileError, match=r'page\.pth'):
        read_state_dict(tmp_path / 'page.pth')


def test_checkpoint_without_tensors(tmp_path):
    torch.save({'epoch': 3, 'names': ['a']}, tmp_path / 'meta.pth')
    with pytest.raises(WeightFileError, match='holds no tensors.*epoch'):
        read_state_dict(tmp_path / 'meta.pth')


def test_checkpoints_of_mmengine_are_read_where_mmengine_is_not_loaded_yet(tmp_path):
    """As in tools that only read weights; a process of its own, for here it is loaded."""
    history = HistoryBuffer()
    history.update(0.5)
    torch.save({'state_dict': {'weight': torch.ones(2)}, 'message_hub': {'loss': history}}, tmp_path / 'iter_2.pth')
    code = (
        'import sys; from denseclip.weights import read_state_dict; assert "mmengine" not in sys.modules; '
        f'print(list(read_state_dict({str(tmp_path / "iter_2.pth")!r})))'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "['weight']", done.stderr


@pytest.mark.parametrize('new_format', [True, False])
def test_the_format_is_told_from_the_content_and_never_from_the_name(tmp_path, new_format):
    path = tmp_path / 'weights.safetensors'
    torch.save({'a': torch.arange(3.0)}, path.with_suffix('.pth'), _use_new_zipfile_serialization=new_format)
    path.with_suffix('.pth').rename(path)
    assert torch.equal(read_state_dict(path)['a'], torch.arange(3.0))


@pytest.mark.parametrize('content', [bytes(200), b'\xff' * 64, b'not weights at all', bytes(8) + b'{}'])
@pytest.mark.parametrize('name', ['w.safetensors', 'w.pth', 'w'])
def test_bytes_of_no_format_are_one_line_whatever_the_name(tmp_path, content, name):
    """torch takes any file that is called safetensors for one, and says so with an error of that library."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightFileError, match=name) as caught:
        read_checkpoint(tmp_path / name)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('kind', ['torch', 'torchscript'])
def test_a_changed_bit_of_a_tensor_is_damage(tmp_path, kind):
    path = tmp_path / 'flipped.pth'
    values = torch.arange(1, 401).float().reshape(20, 20)
    if kind == 'torch':
        torch.save({'weight': values}, path)
    else:
        layer = torch.nn.Linear(20, 20)
        layer.weight.data = values
        torch.jit.save(torch.jit.script(layer), str(path))
    content = path.read_bytes()
    place = content.index(values.numpy().tobytes()) + 6
    path.write_bytes(content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :])
    with pytest.raises(WeightFileError, match=r"flipped\.pth' is .*damaged.*CRC-32"):
        read_state_dict(path)


def test_files_that_were_written_without_sums_are_read(tmp_path, state):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state, tmp_path / 'w.pth')
    finally:
        torch.serialization.set_crc32_options(before)
    assert_same(read_state_dict(tmp_path / 'w.pth'), state)
