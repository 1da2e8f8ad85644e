"""The pictures of a shard, one by one: bytes are fetched when a picture's turn comes."""

from __future__ import annotations

import errno
import functools
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from denseclip.apis.errors import UserError
from denseclip.apis.images import Picture, UnreadableImageError
from denseclip.apis.labelling.cluster.places import is_local, joined
from denseclip.apis.labelling.cluster.sources import Piece, Source
from denseclip.files.damage import is_damage
from denseclip.files.names import readable
from denseclip.files.pictures import image_suffixes
from denseclip.files.tars import BadEndError, open_tar, tar_members
from denseclip.files.webdataset import key_and_ending, whole_stem

KEYS = ('key', '__key__', 'id', 'image_id', 'file_name', 'path')
COLUMNS = ('image', 'img', 'jpg', 'jpeg', 'png', 'webp', 'bytes')
_ROWS = 64  # of a table that are read at a time
_NO_PICTURE = (errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)


class SourceError(UserError):
    """A source that is not as it has to be."""


class NotFetchedError(UnreadableImageError):
    """Bytes that did not come though they should be there: the store does not answer."""


class MissingError(UnreadableImageError):
    """A picture that is gone, or may not be read: where that is said of all, the store is to blame."""


@dataclass(frozen=True, eq=False)
class Member:
    """A picture of a shard.

    Attributes:
        key: What it is called.
        file: The picture's file, or the table or archive that holds it.
        fetch: Gives its bytes, or its file.
    """

    key: str
    file: str
    fetch: Callable[[], bytes | Path]

    def picture(self) -> Picture:
        """Its pixels.

        Raises:
            NotFetchedError: If its store does not answer.
            MissingError: If it is gone or may not be read.
            UnreadableImageError: If it is no picture, or what holds it cannot be read on.
        """
        data = self.content()
        if not data:
            raise UnreadableImageError(self.key, 'there are no bytes in it. Copy or download it again.')
        return Picture(Picture.of_bytes(data, self.key).rgb, Path(self.key))

    def content(self) -> bytes:
        """Its bytes.

        Raises:
            UnreadableImageError: See :meth:`picture`.
        """
        try:
            data = self.fetch()
            return _content(data) if isinstance(data, Path) else data
        except (UnreadableImageError, MemoryError):
            raise
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MissingError(self.key, 'it is gone. Put it back, or label what is there now anew.') from error
        except PermissionError as error:
            raise MissingError(self.key, 'no permission. Allow reading it.') from error
        except Exception as error:  # clients of stores raise what is no OSError
            reason = ' '.join(str(getattr(error, 'strerror', None) or error or type(error).__name__).split())
            if getattr(error, 'errno', None) in _NO_PICTURE:
                raise UnreadableImageError(self.key, f'{reason}. Name a file.') from error
            raise NotFetchedError(self.key, f'{reason}. Look whether its store answers.') from error


def _content(path: Path) -> bytes:
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
        raise UnreadableImageError(path, 'it is no file. Name a picture.')
    return path.read_bytes()


def members(source: Source, pieces: Sequence[Piece]) -> Iterator[Member]:
    """Pictures of a shard, in the order of the source.

    Where a table or an archive is damaged, one member stands for all that is left of it, and its picture cannot be
    read; the next piece follows.

    Raises:
        OSError: If a table or an archive is gone, or its store does not answer; clients of stores raise others, too.
        SourceError: If there is no column of pictures.
    """
    system, root = source.system()
    for piece in pieces:
        path = joined(root, piece.file)
        if source.kind == 'pictures':
            yield Member(readable(piece.file), readable(piece.file), _fetch(system, path))
            continue
        with system.open(path, 'rb') as file:
            inside = _rows(file, source, piece) if source.kind == 'tables' else _samples(file, source, piece)
            try:
                yield from inside
            except Exception as error:
                if not is_damage(error):
                    raise
                broken = functools.partial(_raise_broken, readable(piece.file), str(error) or type(error).__name__)
                yield Member('', readable(piece.file), broken)


def _raise_broken(file: str, reason: str) -> bytes:
    """In place of the bytes of what is left of a file."""
    reason = ' '.join(reason.split())
    raise UnreadableImageError(file, f'the file cannot be read on: {reason}. Copy or download it again.')


def _fetch(system: Any, path: str) -> Callable[[], bytes | Path]:
    if is_local(system):
        return lambda: Path(path)
    return lambda: system.cat_file(path)


# --- tables ---------------------------------------------------------------------------------------------------------


def _rows(file: IO[bytes], source: Source, piece: Piece) -> Iterator[Member]:
    """Rows of a table; the groups they lie in are read a few rows at a time."""
    table = pq.ParquetFile(file, pre_buffer=False, buffer_size=2**20)
    column, key = columns_of(table.schema_arrow, source, piece.file)
    row, groups = _groups(table.metadata, piece)
    names = [column] if key is None else [column, key]
    for group in groups:  # apart, so that a damaged one takes no rows of another with it
        for batch in table.iter_batches(_ROWS, row_groups=[group], columns=names):
            begin, row = row, row + batch.num_rows
            low, high = max(piece.start - begin, 0), min(piece.stop - begin, batch.num_rows)
            if low < high:
                yield from _cells(batch.slice(low, high - low), column, key, piece.file, begin + low)


def _cells(batch: pa.RecordBatch, column: str, key: str | None, file: str, row: int) -> Iterator[Member]:
    keys = [None] * batch.num_rows if key is None else batch.column(key).to_pylist()
    for number, (cell, name) in enumerate(zip(batch.column(column), keys, strict=True), start=row):
        data = cell.as_py()
        inner = data.get('path') if isinstance(data, dict) else None
        data = data.get('bytes') if isinstance(data, dict) else data
        title = name if name is not None else inner
        title = title.decode('utf-8', 'backslashreplace') if isinstance(title, bytes) else title
        key_of = f'{readable(file)}#{number}' if title is None else str(title)
        yield Member(key_of, readable(file), functools.partial(bytes, data or b''))


def columns_of(schema: pa.Schema, source: Source, file: str) -> tuple[str, str | None]:
    """Names of the columns of pictures and of keys; None: rows are numbered.

    Raises:
        SourceError: If there is no such column.
    """
    pictures = [field.name for field in schema if _holds_bytes(field.type)]
    for asked in (source.column, source.key):
        if asked is not None and asked not in schema.names:
            raise SourceError(f"'{file}' has no column '{asked}'; it has {', '.join(schema.names)}.")
    column = source.column or next((name for name in COLUMNS if name in pictures), None)
    if column is None and len(pictures) == 1:
        column = pictures[0]
    if column is None or column not in pictures:
        raise SourceError(
            f"'{file}' has {'no' if not pictures else 'more than one'} column of bytes that could be pictures "
            f'({", ".join(schema.names)}); name one with --image-column.'
        )
    return column, source.key or next((name for name in KEYS if name in schema.names and name != column), None)


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):  # as Hugging Face's data sets have pictures
        index = kind.get_field_index('bytes')
        return index >= 0 and _holds_bytes(kind.field(index).type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _groups(facts: Any, piece: Piece) -> tuple[int, list[int]]:
    """Row groups that hold the rows of a piece, and the first row of the first of them."""
    found: list[int] = []
    row = first = 0
    for number in range(facts.num_row_groups):
        end = row + facts.row_group(number).num_rows
        if row < piece.stop and piece.start < end:
            first = first if found else row
            found.append(number)
        row = end
    return first, found


# --- archives -------------------------------------------------------------------------------------------------------


def _samples(file: IO[bytes], source: Source, piece: Piece) -> Iterator[Member]:
    """A picture of each sample of a WebDataset.

    Raises:
        ReadError: If the archive is damaged, has no end, or goes on behind it.
    """
    sample, found = None, {}  # type: ignore[var-annotated]
    with open_tar(file, 'r|*') as archive:
        try:
            for member in tar_members(archive):
                named = key_and_ending(member.name) if member.isfile() else None
                if named is None:
                    continue
                key, ending = named
                if key != sample:
                    yield from _picture(sample, found, piece)
                    sample, found = key, {}
                stem, last = whole_stem(member.name)
                if ending == source.column or (source.column is None and f'.{last}' in image_suffixes()):
                    content = archive.extractfile(member)
                    name = key if ending in (last, source.column) else stem
                    found[ending] = (name, b'' if content is None else content.read())
        except BadEndError:
            yield from _picture(sample, found, piece)
            raise
        yield from _picture(sample, found, piece)


def _picture(key: str | None, found: dict[str, tuple[str, bytes]], piece: Piece) -> Iterator[Member]:
    """The picture of a sample; where there are several endings, the first of :data:`COLUMNS`: masks are often PNGs.

    A sample without one has names with dots (``J. Smith.png``): then each file is a picture of its own.

    Args:
        key: Of the sample; None before the first.
        found: By ending, what a picture would be called, and its bytes.
        piece: What is read.
    """
    own = [ending for ending, (name, _) in found.items() if name == key]
    chosen = [next((ending for ending in COLUMNS if ending in own), own[0])] if own else list(found)
    for ending in chosen:
        name, content = found[ending]
        yield Member(readable(name), readable(piece.file), lambda content=content: content)  # type: ignore[misc]
