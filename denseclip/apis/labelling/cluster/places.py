"""Where results lie: a folder or a bucket, in which a file is whole or not there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from denseclip.apis.errors import UserError
from denseclip.files.atomic import PARTIAL_SUFFIX, commit, remove_partial_files

HEADER, PLAN, PARTS, TRIES, LETTERS = 'run.json', 'plan', 'shards', 'tries', 'dead_letters.csv'
"""What lies in an output: what it was begun with, folders of the plan, the results and the marks, and a list."""


def is_url(text: str) -> bool:
    """Whether a name is that of an object store and not of a file."""
    return '://' in text


def file_system(text: str) -> tuple[Any, str]:
    """The file system of a name, and the name there.

    Args:
        text: A path, or a URL that fsspec knows: ``s3://``, ``gs://``, ``file://`` ...

    Raises:
        UserError: If nothing knows the protocol, or its package is missing.
    """
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    if not is_url(text):
        return LocalFileSystem(), os.path.abspath(text)  # noqa: PTH100  (names with ".." and links stay as typed)
    try:
        return fsspec.core.url_to_fs(text)
    except (ImportError, ValueError) as error:
        raise UserError(f"'{text}' cannot be opened: {error}") from error


def is_local(system: Any) -> bool:
    """Whether a file system is that of the machine."""
    protocol = system.protocol if isinstance(system.protocol, tuple) else (system.protocol,)
    return 'file' in protocol


def joined(root: str, file: str) -> str:
    """A file below a root; without a name the root itself."""
    if not file:
        return root
    return f'{root.rstrip("/")}/{file}' if root else file


class Place:
    """A folder of results.

    A file that is put there has its name when it is whole: it is renamed, or, in an object store, put at once.

    Args:
        url: A path or a URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.system, self.root = file_system(url)
        self.local = is_local(self.system)

    def __reduce__(self) -> tuple[Any, ...]:
        return Place, (self.root if self.local else self.url,)  # other processes have other working folders

    def path(self, name: str) -> str:
        """Full name of a file."""
        return joined(self.root, name)

    def put(self, name: str, content: bytes) -> None:
        """Write a file; an older one is replaced. Several processes may write the same one: one of them stays."""
        if not self.local:
            try:
                self.system.pipe_file(self.path(name), content)
            except FileNotFoundError:  # object stores have no folders, but others have
                self.system.makedirs(self.path(name).rpartition('/')[0], exist_ok=True)
                self.system.pipe_file(self.path(name), content)
            return
        final = Path(self.path(name))
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = final.with_name(f'.{final.name}.{secrets.token_hex(6)}{PARTIAL_SUFFIX}')
        try:
            partial.write_bytes(content)
            commit(partial, final)
        finally:
            partial.unlink(missing_ok=True)

    def get(self, name: str) -> bytes | None:
        """Content of a file; None: there is none."""
        try:
            return self.system.cat_file(self.path(name))
        except FileNotFoundError:
            return None

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        self.system.invalidate_cache()
        return self.system.exists(self.path(name))

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""
        with suppress(FileNotFoundError):
            self.system.rm_file(self.path(name))

    def names(self, folder: str = '') -> Iterator[str]:
        """Names of what lies in a folder, in no order; partial files are left out."""
        self.system.invalidate_cache()
        try:
            found = self.system.ls(self.path(folder), detail=False)
        except FileNotFoundError:
            return
        for path in found:
            name = path.rstrip('/').rpartition('/')[2]
            if not name.endswith(PARTIAL_SUFFIX):
                yield name

    def sweep(self) -> None:
        """Remove what killed writers left half written; for a time when nobody writes."""
        for folder in ('', PLAN, PARTS, TRIES) if self.local else ():
            remove_partial_files(Path(self.path(folder)))
