"""The writer of weight files: whole files or none, and one line that names the file where it cannot be written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from ..files.atomic import commit
from ..files.scratch import MARKER, ScratchFolder
from .usable import require_usable


def usable_target(path: str | Path) -> Path:
    """A file that could be written, as far as that can be told without writing it.

    Raises:
        OSError: One line that names the file and the cure.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"'{path}' is a folder: name a file in it.")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise NotADirectoryError(f"'{path}' cannot be written: '{folder}' is no folder.")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"no permission to write '{path}': choose another folder or change its rights.")
    return path


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A temporary file that takes a name when all of it is on the disk, and vanishes when anything fails.

    Args:
        path: The name; its folder is created.

    Yields:
        The temporary file, in the same folder.

    Raises:
        OSError: It cannot be written (a full disk, rights, a folder of that name); ``PermissionError`` where rights
            are the reason.
    """
    from safetensors import SafetensorError

    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A folder of its own: safetensors writes under a name of its own choice before it renames, too.
        with ScratchFolder(path.parent, '.saving-') as scratch:
            temporary = scratch.path / 'whole.safetensors'
            yield temporary
            temporary.chmod((scratch.path / MARKER).stat().st_mode)  # safetensors makes 0600: hidden from other users
            commit(temporary, path)
    except PermissionError as error:
        raise PermissionError(
            f"no permission to write '{path}': choose another folder or change its rights."
        ) from error
    except (OSError, SafetensorError) as error:
        reason = getattr(error, 'strerror', None) or str(error)
        raise OSError(f"'{path}' could not be written ({reason}); nothing is left of it.") from error


def write_safetensors(state: Mapping[str, Tensor], path: str | Path, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write tensors to a safetensors file so that an interruption leaves the old file or the new one, never a half.

    Args:
        state: Name to tensor; shared storages are written once per name.
        path: Target; its folder is created.
        metadata: Extra text about the file; values that are not strings are stored as JSON.

    Returns:
        The path written.

    Raises:
        PermissionError: If the folder is not writable.
        OSError: If it cannot be written for another reason.
        WeightFileError: If a tensor has no values, is sparse or holds NaN.
    """
    from safetensors.torch import save_file

    require_usable(state, path)
    text = {str(k): v if isinstance(v, str) else json.dumps(v) for k, v in (metadata or {}).items()}
    with whole_file(path) as temporary:
        save_file(_unshared(state), str(temporary), metadata=text)
    return Path(path)


def _unshared(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors on the CPU, each with a storage of its own, as the format demands."""
    storages: set[int] = set()
    tensors = {}
    for key, value in state.items():
        value = value.detach().cpu().contiguous()
        storage = value.untyped_storage()
        if storage.data_ptr() in storages or storage.nbytes() != value.nbytes:
            value = value.clone()
        storages.add(value.untyped_storage().data_ptr())
        tensors[key] = value
    return tensors
