"""A damaged, cut or foreign weight file is a sentence that names it; what is read is what was written."""

import io
import json
import pickle
import tempfile
from pathlib import Path

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from denseclip.weights import UntrustedWeightsError, WeightFileError, read_checkpoint, write_safetensors

_STATE = {
    'conv.weight': torch.arange(24.0).reshape(2, 3, 2, 2),
    'bn.running_mean': torch.zeros(2),
    'steps': torch.tensor(3),
}


def _saved(content, **how):
    buffer = io.BytesIO()
    torch.save(content, buffer, **how)
    return buffer.getvalue()


def _safetensors():
    with tempfile.TemporaryDirectory() as folder:
        return write_safetensors(_STATE, Path(folder) / 'w.safetensors', {'note': 'a'}).read_bytes()


_HEADER = json.dumps({'a': {'dtype': 'F32', 'shape': [2, 2], 'data_offsets': [0, 16]}}).encode()
_FILES = {
    'safetensors': _safetensors(),
    'torch': _saved({'state_dict': _STATE, 'meta': {'epoch': 1}}),
    'old torch': _saved(_STATE, _use_new_zipfile_serialization=False),
    'pickle': pickle.dumps({'a': [1, 2, 3]}),
    'header only': len(_HEADER).to_bytes(8, 'little') + _HEADER,
    'empty': b'',
}


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    kind=st.sampled_from(sorted(_FILES)),
    cut=st.none() | st.integers(0, 4000),
    places=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6),
    extra=st.binary(max_size=40),
    suffix=st.sampled_from(['.safetensors', '.pt', '.pth', '.bin', '']),
)
def holds(kind, cut, places, extra, suffix):
    """A good file with bytes changed, removed and added."""
    good = _FILES[kind]
    content = bytearray(good[:cut])
    for place, value in places:
        if place < len(content):
            content[place] = value
    content += extra
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f'weights{suffix}'
        path.write_bytes(content)
        try:
            read = read_checkpoint(path)
        except (WeightFileError, UntrustedWeightsError) as error:
            assert 'weights' in str(error), error
        else:
            assert read.state_dict and all(isinstance(value, torch.Tensor) for value in read.state_dict.values())
            if bytes(content) == good and kind != 'pickle':
                assert all(torch.equal(read.state_dict[name], value) for name, value in _STATE.items())
        assert path.read_bytes() == bytes(content)
        assert list(Path(folder).iterdir()) == [path]
