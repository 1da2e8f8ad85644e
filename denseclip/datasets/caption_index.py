"""Where the pictures and captions of shards lie, so that each can be read without what stands before it.

A tar of WebDataset is read once for its headers; a Parquet file says itself where its groups of rows begin.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..files.damage import is_damage, naming
from ..files.tars import open_tar, tar_members
from ..files.webdataset import key_and_ending, whole_stem
from .files import UnreadableFileError


class UnreadableSampleError(UnreadableFileError):
    """A sample has no picture or caption that can be read; the message names shard and sample."""


class ShardError(ValueError):
    """A shard cannot be used; the message names it."""


class Shard(Protocol):
    """Samples of one file.

    Attributes:
        path: The file.
        bad: What was left out, a sentence each.
        lengths: Numbers of samples that lie together, and are read together.
    """

    path: Path
    bad: list[str]
    lengths: list[int]

    def read(self, place: int) -> tuple[bytes, str | list[str], str]:
        """Encoded picture, caption or captions, and name of a sample.

        Raises:
            UnreadableSampleError: It is damaged.
        """


class TarShard:
    """A tar as WebDataset writes it: ``000123.jpg`` and ``000123.txt`` are one sample.

    Args:
        path: The file; not compressed, for there is no reading a compressed one from the middle.
        image: Endings of pictures, lower case.
        caption: Ending of captions; those of JSON files are their ``field``.
        field: Key of the caption in JSON.
        together: Samples that are shuffled as one.

    Raises:
        ShardError: If it is no plain tar.
    """

    def __init__(
        self, path: Path, image: Sequence[str], caption: str, field: str = 'caption', together: int = 256
    ) -> None:
        self.path = path
        self.bad: list[str] = []
        self._field = field if caption.rpartition('.')[2] == 'json' else None
        found = self._members(tuple(image), caption)
        self.names = [name for name, parts in found.items() if len(parts) == 2]
        self._places = np.array([found[name]['image'] + found[name]['caption'] for name in self.names], np.int64)
        for name, parts in found.items():
            if len(parts) < 2:
                self.bad.append(f'{name}: no {"caption" if "image" in parts else "picture"}')
        full, rest = divmod(len(self.names), together)
        self.lengths = [together] * full + [rest] * bool(rest)

    def _members(self, image: tuple[str, ...], caption: str) -> dict[str, dict[str, tuple[int, int]]]:
        """Offset and size of the parts of each sample."""
        found: dict[str, dict[str, tuple[int, int]]] = {}
        dotted: list[tuple[str, str]] = []
        last = ''
        try:
            whole = self.path.stat().st_size
            with naming(self.path), self.path.open('rb') as file, open_tar(file, 'r:') as tar:
                for member in tar_members(tar):
                    last = member.name
                    named = key_and_ending(member.name) if member.isreg() else None
                    if named is None:
                        continue
                    name, ending = named
                    if ending not in image and whole_stem(member.name)[1] in image:
                        dotted.append((name, member.name))
                    kind = 'image' if ending in image else 'caption' if ending == caption else None
                    if kind is None or member.offset_data + member.size > whole:
                        continue
                    parts = found.setdefault(name, {})
                    if kind in parts:
                        self.bad.append(f'{member.name}: a second {kind} of one sample')
                    else:
                        parts[kind] = (member.offset_data, member.size)
        except Exception as error:
            if not is_damage(error):
                raise
            if not found:
                raise ShardError(
                    f"shard '{self.path}' is no tar that can be read ({error}); compressed tars have to be unpacked"
                ) from error
            self.bad.insert(0, f"all behind '{last}': it cannot be read on ({error}); copy or download the file again")
        self.bad += [
            f"{member}: a picture of no sample, since a sample is called what stands before the first dot, '{name}'"
            for name, member in dotted
            if 'image' not in found.get(name, {})
        ]
        return found

    def read(self, place: int) -> tuple[bytes, str, str]:
        """See :class:`Shard`."""
        start, size, text_start, text_size = map(int, self._places[place])
        name = self.names[place]
        # Opened for this sample alone: a process may have thousands of shards.
        with naming(self.path), self.path.open('rb', buffering=0) as file:
            picture, text = (os.pread(file.fileno(), *part) for part in ((size, start), (text_size, text_start)))
        try:
            caption = text.decode('utf-8')
            return picture, caption if self._field is None else json.loads(caption)[self._field], name
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableSampleError(f"'{self.path}', sample '{name}': its caption cannot be read") from error


class ParquetShard:
    """A Parquet file with a column of encoded pictures and one of captions, as Hugging Face's data sets are.

    Args:
        path: The file.
        image: Column of bytes, or of ``bytes`` and ``path``.
        caption: Column of a text, or of a list of texts.

    Raises:
        ShardError: If it cannot be read, lacks a column, or pyarrow is missing.
    """

    def __init__(self, path: Path, image: str, caption: str) -> None:
        self.path, self._columns = path, (image, caption)
        self.bad: list[str] = []
        try:
            from pyarrow.parquet import ParquetFile
        except ImportError as error:
            raise ShardError(f"shard '{path}' needs pyarrow: pip install 'denseclip-suite[shards]'") from error
        try:
            self._written = path.stat().st_mtime_ns
            with naming(path), ParquetFile(path) as file:
                self.lengths = [file.metadata.row_group(k).num_rows for k in range(file.metadata.num_row_groups)]
                there = file.schema_arrow.names
        except Exception as error:
            if not is_damage(error):
                raise
            raise ShardError(f"shard '{path}' is no Parquet file that can be read: {error}") from error
        absent = [name for name in self._columns if name not in there]
        if absent:
            raise ShardError(f"shard '{path}' has no column '{absent[0]}'; there are {', '.join(there)}")
        self._starts = np.cumsum([0, *self.lengths])

    def read(self, place: int) -> tuple[bytes, str | list[str], str]:
        """See :class:`Shard`."""
        group = int(np.searchsorted(self._starts, place, side='right')) - 1
        row = place - int(self._starts[group])
        rows = _row_group(self.path, group, self._columns, self._written)
        image, caption = (rows.column(name)[row].as_py() for name in self._columns)
        image = image.get('bytes') if isinstance(image, dict) else image
        if not isinstance(image, bytes) or not caption:
            what = 'caption' if isinstance(image, bytes) else 'picture'
            raise UnreadableSampleError(f"'{self.path}', row {place}: there is no {what}")
        return image, caption, f'row {place}'


@lru_cache(maxsize=4)
def _row_group(path: Path, number: int, columns: tuple[str, ...], written: int) -> Any:
    """A group of rows; four stay in memory, of all files together.

    Args:
        path: The file.
        number: Of the group.
        columns: What is read of it.
        written: When the file was; one that is written anew is not taken for the old one.

    Raises:
        UnreadableSampleError: It is damaged.
    """
    del written
    from pyarrow.parquet import ParquetFile

    try:
        with naming(path), ParquetFile(path) as file:
            return file.read_row_group(number, columns=list(columns))
    except Exception as error:
        if not is_damage(error):
            raise
        raise UnreadableSampleError(f"'{path}', row group {number} cannot be read: {error}") from error
