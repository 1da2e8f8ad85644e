"""The one reader of weight files.

Order of trust: safetensors (pure data) first, ``torch.load(weights_only=True)`` next, TorchScript archives through a
reader that runs nothing, and a refusal for the rest unless the caller says ``trust=True``. The format is told from the
file's first bytes, never from its name.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import pickle
import re
import struct
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from denseclip.files.archives import require_whole

from .errors import UntrustedWeightsError, WeightFileError
from .inert import Nothing, leftovers_ignored
from .matching import LoadReport, load_into
from .shards import index_shards, is_index, sibling_shards
from .torchscript import archive_root, read_torchscript
from .usable import require_usable

__all__ = [
    'Checkpoint',
    'LoadReport',
    'load_into',
    'read_checkpoint',
    'read_state_dict',
    'strip_prefix',
]

WEIGHT_SUFFIXES = ('.safetensors', '.pt', '.pth', '.bin', '.ckpt')
# What an unpickler raises on bytes that are no pickle, or half of one.
_DAMAGED = (
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ImportError,
    OSError,
    struct.error,
    zipfile.BadZipFile,
    SafetensorError,  # torch.load reads these files, too
)
# What an archive with a damaged directory raises; torch says what is wrong with it.
_NO_ARCHIVE = (zipfile.BadZipFile, ValueError, NotImplementedError, LookupError, struct.error, EOFError, RuntimeError)
_WRAPPERS = ('state_dict', 'model', 'model_state_dict', 'params', 'teacher', 'decoder', 'trainable_linearlayer')


@dataclass
class Checkpoint:
    """A weight file that has been read.

    Attributes:
        state_dict: Name to tensor.
        meta: What else the file says about itself (safetensors metadata, MMEngine's ``meta``); data only.
        format: ``'safetensors'``, ``'torch'`` or ``'torchscript'``.
        entries: What a PyTorch file holds beside its weights (optimizer, message hub ...), where it has a
            ``state_dict``.
    """

    state_dict: dict[str, Tensor]
    meta: dict[str, Any] = field(default_factory=dict)
    format: str = 'torch'
    entries: dict[str, Any] = field(default_factory=dict)


def read_state_dict(path: str | Path, *, trust: bool = False) -> dict[str, Tensor]:
    """Read the tensors of a weight file.

    Args:
        path: A safetensors file, a PyTorch checkpoint, or a TorchScript archive.
        trust: Allow a pickle that runs code while it is read. Say so only for files whose author you trust.

    Returns:
        Name to tensor, unwrapped from ``state_dict`` / ``model`` and from a ``module.`` prefix.

    Raises:
        FileNotFoundError: If there is no such file.
        WeightFileError: If the file is empty, truncated, a folder, or holds no tensors.
        UntrustedWeightsError: If reading it would run code and ``trust`` is False.
    """
    return read_checkpoint(path, trust=trust).state_dict


def read_checkpoint(path: str | Path, *, trust: bool = False) -> Checkpoint:
    """Read a weight file with its metadata. Arguments and errors as in :func:`read_state_dict`.

    The index of shards, or one of them, stands for all: they are read together, or the missing ones are named.
    """
    path = _existing_file(Path(path))
    if is_index(path):
        shards = index_shards(path)
        return _together(path, {file: _read_one(file, trust) for file in shards}, shards)
    files = sibling_shards(path)
    if len(files) > 1:
        return _together(path, {file: _read_one(file, trust) for file in files})
    return _read_one(path, trust)


def read_safetensors(path: str | Path) -> Checkpoint:
    """Read a file that must be safetensors: nothing else in it is looked at. Errors as in :func:`read_state_dict`."""
    path = _existing_file(Path(path))
    if _sniff(path) != 'safetensors':
        raise WeightFileError(f"'{path}' is no safetensors file.")
    return _read_safetensors(path)


def _together(path: Path, parts: dict[Path, Checkpoint], named: dict[Path, list[str]] | None = None) -> Checkpoint:
    """One checkpoint from its shards.

    Raises:
        WeightFileError: A shard lacks what the index promises, or two hold the same name.
    """
    state: dict[str, Tensor] = {}
    for file, part in parts.items():
        lost = [name for name in (named or {}).get(file, ()) if name not in part.state_dict]
        double = [name for name in part.state_dict if name in state]
        if lost or double:
            what = f"lacks '{lost[0]}', which the index names" if lost else f"holds '{double[0]}' once more"
            raise WeightFileError(f"'{path}': the shard {file.name} {what}; fetch the shards again.")
        state.update(part.state_dict)
    first = next(iter(parts.values()))
    return Checkpoint(state, first.meta, first.format)


def _read_one(path: Path, trust: bool) -> Checkpoint:
    return _read_format(_existing_file(path), trust)


def _read_format(path: Path, trust: bool) -> Checkpoint:
    kind = _sniff(path)
    if kind == 'safetensors':
        return _read_safetensors(path)
    if kind == 'torchscript':
        return Checkpoint(read_torchscript(path), format='torchscript')
    content = _torch_load(path, trust)
    whole = content if isinstance(content, Mapping) else {}
    meta = whole.get('meta', {})
    others = whole.items() if 'state_dict' in whole else ()
    entries = {k: v for k, v in others if k not in ('state_dict', 'meta') and not isinstance(v, Nothing)}
    return Checkpoint(_unwrap(content, path), dict(meta) if isinstance(meta, Mapping) else {}, entries=entries)


def is_torchscript(path: str | Path) -> bool:
    """Whether a file is a TorchScript archive, as OpenAI released CLIP; its tensors are not read."""
    return Path(path).is_file() and _sniff(Path(path)) == 'torchscript'


def _existing_file(path: Path) -> Path:
    if path.is_dir():
        held = sorted(p.name for p in path.iterdir() if p.suffix in WEIGHT_SUFFIXES)
        hint = f'name one of its files ({", ".join(held[:5])})' if held else 'it holds no weight files'
        raise WeightFileError(f"'{path}' is a folder, not a weight file: {hint}, or write 'local-dir:{path}'.")
    if not path.is_file():
        raise FileNotFoundError(f"weight file '{path}' does not exist; check the path or download it first.")
    if path.stat().st_size == 0:
        raise WeightFileError(f"weight file '{path}' is empty (0 bytes): the download or copy failed, fetch it again.")
    return path


def _sniff(path: Path) -> str:
    with path.open('rb') as file:
        head = file.read(16)
    if head[8:9] == b'{' and int.from_bytes(head[:8], 'little') < 100_000_000:
        return 'safetensors'
    if head.startswith(b'PK'):
        with contextlib.suppress(*_NO_ARCHIVE), zipfile.ZipFile(path) as archive:
            return 'torchscript' if archive_root(archive) else 'torch'
    if head.startswith(b'version https://'):
        raise WeightFileError(f"'{path}' is a Git LFS pointer, not the weights themselves: run 'git lfs pull'.")
    return 'torch'


def _read_safetensors(path: Path) -> Checkpoint:
    from safetensors import safe_open

    try:
        with safe_open(str(path), framework='pt') as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a mapping)
            require_usable(state, path)
            return Checkpoint(state, dict(file.metadata() or {}), 'safetensors')
    except SafetensorError as error:
        raise WeightFileError(
            f"'{path}' is a damaged or truncated safetensors file ({error}); fetch it again."
        ) from error


def _unpickle(path: Path, trust: bool) -> Any:
    """The content of a PyTorch file; without ``trust`` data only."""
    with path.open('rb') as file:  # given a path, torch.load goes by the ending of its name
        return torch.load(file, map_location='cpu', weights_only=not trust)


def _torch_load(path: Path, trust: bool) -> Any:
    from safetensors import SafetensorError

    try:
        require_whole(path)
        try:
            return _unpickle(path, trust)
        except pickle.UnpicklingError:
            with leftovers_ignored(path) as readable:
                if readable:
                    return _unpickle(path, trust)
            if not _learn_mmengine():
                raise
            return _unpickle(path, trust)
    except pickle.UnpicklingError as error:
        wanted = re.search(r'GLOBAL ([\w.]+)', str(error)) or re.search(
            r'[Uu]nsupported (?:class|global):? ([\w.]+)', str(error)
        )
        if wanted is None and 'weights_only' not in str(error).lower():
            raise WeightFileError(f"'{path}' is damaged or truncated ({error}); fetch it again.") from error
        if wanted is None and not _looks_like_pickle(path):
            raise WeightFileError(
                f"'{path}' is in no known weight format (safetensors, PyTorch, TorchScript)."
            ) from error
        what = f"it asks for '{wanted.group(1)}'" if wanted else 'it contains more than tensors'
        raise UntrustedWeightsError(
            f"refused to read '{path}': {what}, and unpickling that can run code. Nothing was run. If you trust its "
            'author, pass trust=True (--trust on the command line), or convert it to safetensors once.'
        ) from None
    except (*_DAMAGED, SafetensorError) as error:  # torch takes any file of that name for safetensors
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        if trust and isinstance(error, ImportError | AttributeError):
            raise WeightFileError(f"'{path}' needs code that is not installed here ({text}).") from error
        raise WeightFileError(f"'{path}' is damaged or truncated ({text}); fetch it again.") from error


def _learn_mmengine() -> bool:
    """Have the types of MMEngine's own checkpoints allowed, which :mod:`denseclip.compat` does when it is imported.

    Returns:
        Whether more is allowed now than before.
    """
    if 'mmengine.logging' in sys.modules or importlib.util.find_spec('mmengine') is None:
        return False
    importlib.import_module('mmengine.logging')
    return True


def _looks_like_pickle(path: Path) -> bool:
    with path.open('rb') as file:
        head = file.read(2)
    return head[:1] == b'\x80' or head == b'PK'


def _unwrap(content: Any, path: Path) -> dict[str, Tensor]:
    """The innermost mapping of names to tensors, without a ``module.`` prefix common to all names."""
    for _ in range(3):
        inner = next(
            (content[k] for k in _WRAPPERS if isinstance(content, Mapping) and isinstance(content.get(k), Mapping)),
            None,
        )
        if inner is None:
            break
        content = inner
    if isinstance(content, nn.Module):
        content = content.state_dict()
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, Mapping) else {}
    if not tensors:
        keys = ', '.join(map(str, list(content)[:8])) if isinstance(content, Mapping) else type(content).__name__
        raise WeightFileError(f"'{path}' holds no tensors where weights were expected (it holds: {keys}).")
    require_usable(tensors, path)
    return strip_prefix(tensors, 'module.') if all(k.startswith('module.') for k in tensors) else tensors


def strip_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries whose name starts with ``prefix``, without it."""
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
