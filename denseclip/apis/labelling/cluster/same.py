"""The model of the command in other processes: its names mean the same files there, and these hold the same bytes."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from denseclip.apis.errors import UserError
from denseclip.files.download import digest

_HERE = 'local-dir:'


def sums(named: Iterable[str], exported: str | None = None) -> dict[str, str]:
    """Sha256 of the files and folders that options name, by name.

    Args:
        named: What they name: files, ``local-dir:`` with a folder, and anything else, which is left out.
        exported: The folder of an exported model.
    """
    folders = () if exported is None else (exported,)
    return {
        name: _sum(_path(name))
        for name in (*named, *folders)
        if _path(name).is_file() or (_path(name).is_dir() and name.startswith((_HERE, *folders)))
    }


def stand_in(folder: str, known: Mapping[str, str]) -> None:
    """Make names mean here what they mean to the command.

    Args:
        folder: Its working folder, which becomes that of this process where there is one of that name.
        known: What :func:`sums` found there.

    Raises:
        UserError: If a file is not there, or another one.
    """
    with suppress(OSError):
        os.chdir(folder)
    for name, wanted in known.items():
        path = _path(name)
        found = _sum(path) if path.exists() else None
        if found != wanted:
            what = 'is not there' if found is None else 'is another one than where the command was started'
            raise UserError(
                f"'{name}' {what}, on '{socket.gethostname()}' in '{Path.cwd()}'; put it on storage that all machines "
                'share.'
            )


def _path(name: str) -> Path:
    return Path(name.removeprefix(_HERE)).expanduser()


def _sum(path: Path) -> str:
    """Of a file; of a folder, that of the names and sums of its files."""
    if path.is_file():
        return digest(path)
    total = hashlib.sha256()
    for file in sorted(file for file in path.rglob('*') if file.is_file()):
        total.update(os.fsencode(file.relative_to(path)) + b'\0' + digest(file).encode('ascii'))
    return total.hexdigest()
