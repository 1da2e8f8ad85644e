"""Published weights: small, complete, never overwritten."""

import hashlib
import os
import sys
from pathlib import Path

import pytest
import torch

from denseclip.weights import read_state_dict
from denseclip.weights.publish import publish, to_half


@pytest.fixture
def checkpoint(tmp_path):
    state = {
        'conv.weight': torch.randn(64, 64, 3, 3),
        'bn.running_var': torch.full((64,), 1e-8),
        'bn.num_batches_tracked': torch.tensor(7),
    }
    path = tmp_path / 'iter_1.pth'
    torch.save({'state_dict': state, 'optimizer': {'state': {0: torch.zeros(10_000)}}, 'meta': {'iter': 1}}, path)
    return path, state


def test_publishes_weights_only_and_names_the_checksum(checkpoint, tmp_path):
    path, state = checkpoint
    result = publish(path, tmp_path / 'model.safetensors', metadata={'config': 'a.py'})
    read = read_state_dict(result.path)
    assert read.keys() == state.keys()
    assert result.size == result.path.stat().st_size < 80_000
    assert result.sha256 == hashlib.sha256(result.path.read_bytes()).hexdigest()
    torch.testing.assert_close(read['conv.weight'].float(), state['conv.weight'], rtol=1e-3, atol=1e-4)
    assert torch.equal(read['bn.running_var'].float(), state['bn.running_var'])
    assert read['bn.num_batches_tracked'] == 7


def test_full_precision_is_exact(checkpoint, tmp_path):
    path, state = checkpoint
    read = read_state_dict(publish(path, tmp_path / 'model.safetensors', half=False).path)
    assert all(torch.equal(read[name], value) for name, value in state.items())


def test_never_overwrites(checkpoint, tmp_path):
    out = tmp_path / 'model.safetensors'
    publish(checkpoint[0], out)
    with pytest.raises(FileExistsError, match=r'model\.safetensors'):
        publish(checkpoint[0], out)
    with pytest.raises(ValueError, match='safetensors'):
        publish(checkpoint[0], tmp_path / 'model.pth')


def test_refuses_what_half_precision_cannot_hold():
    with pytest.raises(ValueError, match='"huge" holds values'):
        to_half({'huge': torch.full((5000,), 1e6)})


class Note:
    """Foreign to every allow-list, and harmless."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_trusted_checkpoint_is_published(checkpoint, tmp_path, capsys):
    sys.path.insert(0, str(Path(__file__).parents[2] / 'tools'))
    import publish_model

    path, marker, out = tmp_path / 'theirs.pth', tmp_path / 'ran', tmp_path / 'out.safetensors'
    torch.save({'state_dict': checkpoint[1], 'run': Note(marker)}, path)
    with pytest.raises(SystemExit):
        publish_model.main([str(path), str(out)])
    assert '--trust' in capsys.readouterr().err and not marker.exists() and not out.exists()
    assert publish_model.main([str(path), str(out), '--trust']) == 0
    assert marker.exists() and read_state_dict(out).keys() == checkpoint[1].keys()
