"""Read the tensors of a TorchScript archive without executing any of it.

OpenAI publishes CLIP as TorchScript archives (``RN50.pt``, ``ViT-B-16.pt`` ...). ``torch.jit.load`` would compile the
code inside the archive and is deprecated; all that is wanted are the parameters and buffers, and those sit in
``data.pkl`` plus one raw file per storage. The reader below walks that pickle with an unpickler that knows exactly the
constructors a TorchScript archive consists of and refuses everything else, so nothing in the file can run.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import UntrustedWeightsError, WeightFileError

_STORAGE_DTYPES = {
    'DoubleStorage': torch.float64,
    'FloatStorage': torch.float32,
    'HalfStorage': torch.float16,
    'BFloat16Storage': torch.bfloat16,
    'LongStorage': torch.int64,
    'IntStorage': torch.int32,
    'ShortStorage': torch.int16,
    'CharStorage': torch.int8,
    'ByteStorage': torch.uint8,
    'BoolStorage': torch.bool,
}

# Damaged bytes can end in any of these: a missing storage, sizes beyond one, attributes on what is no object.
_DAMAGED = (
    zipfile.BadZipFile,
    pickle.UnpicklingError,
    LookupError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    struct.error,
    zlib.error,
)


class _ScriptObject:
    """Stand-in for any class of the archive: it only remembers its attributes."""

    attributes: dict[str, Any]

    def __setstate__(self, state: Any) -> None:
        self.attributes = state if isinstance(state, dict) else {}


def _rebuild_tensor(storage: Tensor, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
    return torch.as_strided(storage, size, stride, offset)


def _first(value: Any, *_: Any) -> Any:
    """TorchScript's list builders and type tags: the value itself is all that matters here."""
    return value


class _ArchiveUnpickler(pickle.Unpickler):
    """Unpickler limited to the constructors of a TorchScript ``data.pkl``."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(f'{root}/data.pkl')))  # read to its end, so that its sum is compared
        self._archive = archive
        self._root = root
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith('__torch__'):
            return _ScriptObject
        if module == 'torch' and name in _STORAGE_DTYPES:
            return _STORAGE_DTYPES[name]
        if (module, name) == ('torch._utils', '_rebuild_tensor_v2'):
            return _rebuild_tensor
        if (module, name) == ('collections', 'OrderedDict'):
            return OrderedDict
        if module == 'torch.jit._pickle':
            return _first
        raise UntrustedWeightsError(f"the archive asks for '{module}.{name}', which no TorchScript archive needs")

    def persistent_load(self, pid: Any) -> Tensor:
        _, dtype, key, _, numel = pid
        if key not in self._storages:
            raw = bytearray(self._archive.read(f'{self._root}/data/{key}'))
            self._storages[key] = torch.frombuffer(raw, dtype=dtype) if numel else torch.empty(0, dtype=dtype)
        return self._storages[key]


def _collect(node: _ScriptObject, prefix: str, out: dict[str, Tensor]) -> None:
    for name, value in node.attributes.items():
        if isinstance(value, Tensor):
            out[prefix + name] = value
        elif isinstance(value, _ScriptObject):
            _collect(value, f'{prefix}{name}.', out)


def archive_root(archive: zipfile.ZipFile) -> str | None:
    """Name of the top folder when ``archive`` is a TorchScript archive, else None."""
    for name in archive.namelist():
        root, _, rest = name.partition('/')
        if rest.startswith('code/__torch__'):
            return root
    return None


def read_torchscript(path: str | Path) -> dict[str, Tensor]:
    """Parameters and buffers of a TorchScript archive, half precision widened to float32.

    Args:
        path: The archive.

    Returns:
        Name to tensor, as ``torch.jit.load(path).float().state_dict()`` would give.

    Raises:
        WeightFileError: If the archive is damaged or saved on a machine of the other byte order.
        UntrustedWeightsError: If it contains anything but TorchScript data.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            root = archive_root(archive)
            if root is None:
                raise WeightFileError(f"'{path}' is not a TorchScript archive: it has no 'code/' folder.")
            order_file = f'{root}/byteorder'
            if order_file in archive.namelist() and archive.read(order_file).decode() != sys.byteorder:
                raise WeightFileError(f"'{path}' was written on a machine of the other byte order; convert it there.")
            tree = _ArchiveUnpickler(archive, root).load()
        state: dict[str, Tensor] = {}
        _collect(tree, '', state)
    except UntrustedWeightsError as error:
        raise UntrustedWeightsError(f"'{path}': {error}. Nothing was run.") from None
    except WeightFileError:
        raise
    except _DAMAGED as error:
        raise WeightFileError(f"'{path}' is a damaged TorchScript archive ({error}); download it again.") from error
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
