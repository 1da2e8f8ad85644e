"""Which shard holds what: fixed when the output is begun, so that a shard means the same to every run and process.

``run.json`` pins what the labels depend on, and is written last: with it, the plan is whole. Pages of the plan hold the
pieces of a thousand shards each, so neither the driver nor a worker ever holds the names of all pictures.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from denseclip.apis.errors import UserError
from denseclip.apis.labelling.cluster.parts import number_of
from denseclip.apis.labelling.cluster.places import HEADER, PARTS, PLAN, Place
from denseclip.apis.labelling.cluster.sources import TO_END, Piece, Source, row_groups, walk
from denseclip.apis.labelling.store import Run
from denseclip.files.names import shown
from denseclip.files.ours import NOBODYS

PAGE = 1000
"""Shards of a page."""
_SCHEMA = pa.schema({'shard': pa.int64(), 'file': pa.binary(), 'start': pa.int64(), 'stop': pa.int64()})


@dataclass(frozen=True)
class Header:
    """What an output was begun with.

    Attributes:
        run: What the labels depend on.
        named: What the source was called; see :class:`~denseclip.apis.labelling.cluster.sources.Source`.
        kind: See there.
        shards: Number of shards.
        pictures: Number of pictures; None where archives hide it.
        files: Number of files.
        listing: Digest of the names and sizes of all files.
    """

    run: Run
    named: tuple[str, ...]
    kind: str
    shards: int
    pictures: int | None
    files: int
    listing: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**vars(self), 'named': list(self.named), 'run': self.run.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Header:
        """See :meth:`to_json`."""
        return cls(**{**data, 'named': tuple(data['named']), 'run': Run.from_json(data['run'])})


def read_header(place: Place) -> Header | None:
    """What an output was begun with; None where nothing was.

    Raises:
        UserError: If the header is damaged, or of another version.
    """
    content = place.get(HEADER)
    if content is None:
        return None
    try:
        return Header.from_json(json.loads(content))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"'{place.url}/{HEADER}' is damaged or of another version ({error}); label into another --out."
        ) from error


def begin(place: Place, source: Source, run: Run, shard_size: int) -> Header:
    """Plan the shards and write the header, or see that the output was begun in the same way.

    Args:
        place: The output.
        source: What there is to label.
        run: What the labels depend on.
        shard_size: Pictures of a shard, for folders and tables.

    Raises:
        UserError: If it was begun otherwise or holds anything else, or the source has changed since.
    """
    known = read_header(place)
    listing = _Listing()
    pieces = listing.note(_pieces(source, shard_size))
    if known is None:
        strangers = sorted({*place.names()} - {PLAN, *NOBODYS})
        if strangers:
            raise UserError(
                f"'{place.url}' holds {shown(strangers[0])}, which 'denseclip label' did not write; choose another "
                'place with --out.'
            )
        for number, page in groupby(pieces, lambda piece: piece.shard // PAGE):
            place.put(_page(number), _table(page, by_shard=source.kind == 'pictures'))
        header = listing.header(run, source)
        place.put(HEADER, json.dumps(header.to_json()).encode('ascii'))
        return header
    changed = known.run.differences(run)
    if changed:
        raise UserError(
            f"'{place.url}' was begun otherwise ({', '.join(dict.fromkeys(changed))}); go on with what it was begun "
            'with, or label into another place with --out.'
        )
    for _ in pieces:
        pass
    now = listing.header(known.run, source)
    if now != known:
        raise UserError(
            f"'{place.url}' was begun when the source held {known.files:,} files; it holds others or {now.files:,} "
            'by now. Label what is new into another --out.'
        )
    return known


def pieces_of(place: Place, shard: int) -> list[Piece]:
    """What a shard holds."""
    with place.system.open(place.path(_page(shard // PAGE)), 'rb') as file:
        table = pq.read_table(file, filters=[('shard', '==', shard)])
    rows = table.to_pylist()
    return [
        Piece(row['shard'], row['file'].decode('utf-8', 'surrogateescape'), row['start'], row['stop']) for row in rows
    ]


def unfinished(place: Place, header: Header) -> list[int]:
    """Shards without a part."""
    done = {number_of(name) for name in place.names(PARTS)}
    return [shard for shard in range(header.shards) if shard not in done]


class _Listing:
    """Counts pieces that pass, and digests their names whatever their order."""

    def __init__(self) -> None:
        self._shards = self._files = self._pictures = self._sum = 0

    def note(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Pass pieces on."""
        last = None
        for piece in pieces:
            self._shards = piece.shard + 1
            self._files += piece.file != last
            self._pictures += 1 if piece.stop == TO_END else piece.stop - piece.start
            last = piece.file
            text = json.dumps([piece.file, piece.start, piece.stop])
            self._sum += int.from_bytes(hashlib.sha256(text.encode('ascii')).digest(), 'big')
            yield piece

    def header(self, run: Run, source: Source) -> Header:
        """What has passed."""
        text = json.dumps([self._sum, source.files])
        pictures = None if source.kind == 'archives' else self._pictures
        digest = hashlib.sha256(text.encode('ascii')).hexdigest()
        return Header(run, source.names, source.kind, self._shards, pictures, self._files, digest)


def _pieces(source: Source, size: int) -> Iterator[Piece]:
    """Pieces in the order of their shards."""
    if source.kind == 'archives':
        yield from (Piece(shard, file) for shard, (file, _) in enumerate(source.files))
    elif source.kind == 'pictures':
        system, root = source.system()
        yield from (Piece(number // size, file) for number, file in enumerate(walk(system, root)))
    else:
        yield from _table_pieces(row_groups(source), size)


def _table_pieces(groups: Iterable[tuple[str, int]], size: int) -> Iterator[Piece]:
    """Whole row groups where they are small, and equal parts of large ones: whoever reads a part reads its group."""
    shard, room = -1, 0
    before, last = 0, None
    for file, rows in groups:
        before, last = (before if file == last else 0), file
        parts = max(1, -(-rows // size))
        for part in range(parts):
            start, stop = before + rows * part // parts, before + rows * (part + 1) // parts
            if stop - start > room:
                shard, room = shard + 1, size
            room -= stop - start
            if stop > start:
                yield Piece(shard, file, start, stop)
        before += rows


def _page(number: int) -> str:
    return f'{PLAN}/page-{number:06d}.parquet'


def _table(pieces: Iterable[Piece], by_shard: bool) -> bytes:
    """A page; with a row group for each shard, so that a worker reads its own."""
    out = io.BytesIO()
    with pq.ParquetWriter(out, _SCHEMA, compression='zstd') as writer:
        for _, part in groupby(pieces, lambda piece: piece.shard if by_shard else 0):
            rows = [vars(piece) | {'file': os.fsencode(piece.file)} for piece in part]
            writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))
    return out.getvalue()
