"""What there is to label: a folder of pictures, Parquet files, tar files of WebDataset, here or in an object store."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from denseclip.apis.errors import UserError
from denseclip.apis.labelling.cluster.places import file_system, is_local, joined
from denseclip.core.beside import reading
from denseclip.files.damage import is_damage
from denseclip.files.names import readable
from denseclip.files.pictures import image_suffixes, is_hidden
from denseclip.files.pictures import walk as walk_local
from denseclip.files.webdataset import spelled_out

TO_END = -1
_TABLES, _ARCHIVES = ('.parquet', '.pq'), ('.tar', '.tar.gz', '.tgz')
_READERS = 16


@dataclass(frozen=True)
class Piece:
    """A part of a shard.

    Attributes:
        shard: Number of the shard.
        file: A file, relative to the source; of a picture, a table or an archive.
        start: Its first row, for tables.
        stop: Behind its last row; :data:`TO_END` for pictures and archives.
    """

    shard: int
    file: str
    start: int = 0
    stop: int = TO_END


@dataclass(frozen=True)
class Source:
    """Where pictures come from.

    Attributes:
        kind: ``'pictures'``, ``'tables'`` or ``'archives'``.
        names: What the user named, local paths resolved.
        root: A URL or folder that files are relative to.
        files: Tables or archives with their sizes in bytes; empty for pictures, which are listed when they are planned.
        column: Column of pictures in tables, or their ending in archives; None: it is found.
        key: Column of keys; None: it is found.
    """

    kind: str
    names: tuple[str, ...]
    root: str
    files: tuple[tuple[str, int], ...] = ()
    column: str | None = None
    key: str | None = None

    @property
    def title(self) -> str:
        """What it is called."""
        return readable('; '.join(self.names))

    def system(self) -> tuple[Any, str]:
        """Its file system, and its root there."""
        return file_system(self.root)


def find_source(named: Sequence[str], column: str | None = None, key: str | None = None) -> Source:
    """What a user's words mean.

    Args:
        named: A folder, or files and patterns of tables or archives; paths or URLs.
        column: See :class:`Source`.
        key: See :class:`Source`.

    Raises:
        UserError: If there is nothing, or things of several kinds.
    """
    titles = tuple(_title(name) for name in named)
    if len(named) == 1:
        system, path = file_system(named[0])
        if system.isdir(path):
            return _folder(system, path, titles, column, key)
    found: dict[str, int] = {}
    kinds = set()
    for name in named:
        for path, size, kind in _files(name):
            found[path] = size
            kinds.add(kind)
    if len(kinds) > 1:
        raise UserError('Parquet and tar files are labelled apart: name those of one kind.')
    system, first = file_system(named[0])
    common = _common([path.split('/')[:-1] for path in found])
    files = tuple(sorted((path[len(common) :].lstrip('/'), size) for path, size in found.items()))
    root = common if is_local(system) else _instead(named[0], first, common)
    return Source(kinds.pop(), titles, root, files, column, key)


def _instead(name: str, path: str, other: str) -> str:
    """A URL with another path; file systems that go through another one say it nowhere: ``simplecache::s3://...``."""
    before, _, after = name.rpartition(path) if name.endswith(path) else name.partition(path)
    return f'{before}{other}{after}'


def _title(name: str) -> str:
    """What names a file or a folder whatever the working folder is: other processes have others."""
    system, path = file_system(name)
    return os.path.realpath(path) if is_local(system) else name


def _folder(system: Any, path: str, titles: tuple[str, ...], column: str | None, key: str | None) -> Source:
    """A folder: of what its first file is."""
    name = titles[0]
    first = next(walk(system, path), None)
    if first is None:
        raise UserError(
            f"folder '{name}' holds no pictures (.jpg, .png, ...), Parquet or tar files, nor do its folders; name "
            'another.'
        )
    kind = kind_of(first) or 'pictures'
    if kind == 'pictures':
        if column or key:
            raise UserError('--image-column and --key-column are for Parquet and tar files: leave them out.')
        return Source(kind, titles, name)
    files = tuple(sorted((file, int(system.size(f'{path}/{file}'))) for file in walk(system, path)))
    return Source(kind, titles, name, files, column, key)


def walk(system: Any, root: str) -> Iterator[str]:
    """Files of a folder and its folders that can be labelled, folder by folder, sorted in each.

    Raises:
        UserError: If they are of several kinds.
    """
    kind = None
    places = walk_local(root) if is_local(system) else system.walk(root)
    for place, folders, names in places:
        inside = place[len(root) :].strip('/')
        if any(map(is_hidden, inside.split('/'))):
            continue
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in sorted(names):
            found = None if is_hidden(name) else kind_of(name)
            if found is None:
                continue
            if kind is not None and found != kind:
                raise UserError(
                    f"'{root}' holds {_WORDS[kind]} and {_WORDS[found]}; name those of one kind, such as "
                    f"'{root}/*.tar'."
                )
            kind = found
            yield f'{inside}/{name}' if inside else name


_WORDS = {'pictures': 'pictures', 'tables': 'Parquet files', 'archives': 'tar files'}


def kind_of(name: str) -> str | None:
    """What a file is, told by its ending; None: nothing to label."""
    low = name.lower()
    if low.endswith(_TABLES):
        return 'tables'
    if low.endswith(_ARCHIVES):
        return 'archives'
    return 'pictures' if os.path.splitext(low)[1] in image_suffixes() else None  # noqa: PTH122


def row_groups(source: Source) -> Iterator[tuple[str, int]]:
    """File and rows of each row group of the tables, in their order; footers are read by threads.

    Raises:
        UserError: If a file is no Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    system, root = source.system()

    def read(file: str) -> list[int]:
        try:
            with system.open(joined(root, file), 'rb') as handle:
                facts = pq.read_metadata(handle)
        except (pa.ArrowException, OSError) as error:
            if not is_damage(error):
                raise
            raise UserError(f"'{file}' is no whole Parquet file ({error}).") from error
        return [facts.row_group(number).num_rows for number in range(facts.num_row_groups)]

    with reading(_READERS, 'footer') as pool:
        names = [file for file, _ in source.files]
        for file, groups in zip(names, pool.map(read, names), strict=True):
            for rows in groups:
                yield file, rows


def _files(name: str) -> Iterator[tuple[str, int, str]]:
    """Name in the file system, size and kind of each file that a word means."""
    for expanded in spelled_out(name):
        system, path = file_system(expanded)
        if system.exists(path):
            hits = [path]
        else:
            hits = sorted(system.glob(path)) if any(sign in expanded for sign in '*?[') else []
        if not hits:
            raise UserError(f"no file matches '{name}'; check the name.")
        for hit in hits:
            kind = kind_of(hit)
            if kind not in ('tables', 'archives'):
                raise UserError(f"'{hit}' is no Parquet or tar file; name such files, or one folder of pictures.")
            yield hit, int(system.size(hit) or 0), kind


def _common(folders: Sequence[Sequence[str]]) -> str:
    """The folder that holds all of these."""
    shared = list(folders[0])
    for parts in folders[1:]:
        while shared != list(parts[: len(shared)]):
            shared.pop()
    return '/'.join(shared)
