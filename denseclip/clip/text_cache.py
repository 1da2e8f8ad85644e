"""Text embeddings on disk: an entry is right in every bit, or it is none."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from denseclip.weights import WeightFileError, read_safetensors, write_safetensors


def default_cache_dir() -> Path:
    """``$DENSECLIP_CACHE/text``, else ``~/.cache/denseclip/text``."""
    root = os.environ.get('DENSECLIP_CACHE')
    return (Path(root) if root else Path.home() / '.cache' / 'denseclip') / 'text'


_MOST_BYTES = 1 << 30  # a list of a hundred names is 200 KB
_MOST_ENTRIES = 10_000
_EVERY = 50  # entries written between two looks at how much there is


class TextCache:
    """A folder of safetensors files, one per key.

    Files are written under a temporary name and renamed, so that processes that write at once, or are killed, leave
    whole files only. Each holds the checksum of its rows. Nothing that goes wrong here stops a prediction: a damaged
    entry is written anew, and a folder that takes no files is said once. Entries that were not read for longest go when
    they are more than 10,000 or take more than 1 GB: words that change with every call do not fill a disk.

    Args:
        folder: Where the files are; made when the first is written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._has_complained = False
        self._written = 0

    def path(self, key: str) -> Path:
        """File of a key."""
        return self.folder / f'{key}.safetensors'

    def has(self, key: str) -> bool:
        """Whether there is a file for a key, whatever is in it."""
        try:
            return self.path(key).is_file()
        except OSError:  # a folder that may not be looked into
            return False

    def read(self, key: str, shape: tuple[int, int], dtype: torch.dtype) -> Tensor | None:
        """Rows of a key, or None if there is no entry that is right.

        Args:
            key: Name of the entry.
            shape: Rows and width that they must have.
            dtype: Type that they must have.
        """
        path = self.path(key)
        if not self.has(key):
            return None
        try:
            found = read_safetensors(path)
            rows = found.state_dict.get('embeddings')
            fault = 'it holds no embeddings' if rows is None else _fault(rows, found.meta, shape, dtype)
        except (WeightFileError, OSError) as error:
            rows, fault = None, str(error)
        if fault is None:
            with suppress(OSError):
                os.utime(path)  # it is of use
            return rows
        warnings.warn(f"text cache entry '{path}' is unusable and will be written anew: {fault}", stacklevel=3)
        return None

    def write(self, key: str, rows: Tensor, about: Mapping[str, Any]) -> None:
        """Store rows (P, E) under a key, with what is worth knowing about them."""
        try:
            meta = {**about, 'sha256': _checksum(rows), 'shape': list(rows.shape), 'dtype': str(rows.dtype)}
            write_safetensors({'embeddings': rows}, self.path(key), meta)
            if self._written % _EVERY == 0:
                self._trim()
            self._written += 1
        except (WeightFileError, OSError) as error:
            if not self._has_complained:
                self._has_complained = True
                warnings.warn(f'text embeddings are not cached on disk: {error}', stacklevel=3)

    def _trim(self) -> None:
        """Remove the entries that were of no use for longest, down to nine tenths of what is allowed."""
        found = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith('.safetensors'):
                    with suppress(FileNotFoundError):  # another process trims, too
                        found.append((entry.stat().st_mtime, entry.stat().st_size, entry.path))
        room, count = sum(size for _, size, _ in found), len(found)
        if room <= _MOST_BYTES and count <= _MOST_ENTRIES:
            return
        for _, size, path in sorted(found):
            if room <= 0.9 * _MOST_BYTES and count <= 0.9 * _MOST_ENTRIES:
                return
            Path(path).unlink(missing_ok=True)
            room, count = room - size, count - 1


def _fault(rows: Tensor, meta: Mapping[str, Any], shape: tuple[int, int], dtype: torch.dtype) -> str | None:
    """What is wrong with an entry, or None."""
    if tuple(rows.shape) != shape:
        return f'its shape is {tuple(rows.shape)}, not {shape}.'
    if rows.dtype != dtype:
        return f'its type is {rows.dtype}, not {dtype}.'
    if not torch.isfinite(rows).all():
        return 'it holds NaN or infinite numbers.'
    if not rows.any(dim=1).all():
        return 'some of its rows are zero.'
    if meta.get('sha256') != _checksum(rows):
        return 'its checksum does not fit.'
    return None


def _checksum(rows: Tensor) -> str:
    raw = rows.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return hashlib.sha256(raw.tobytes()).hexdigest()
