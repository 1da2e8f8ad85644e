"""Finished shards as a labelled folder, in any layout of ``denseclip label``."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from denseclip.apis.errors import UserError
from denseclip.apis.images import Picture
from denseclip.apis.labelling import names
from denseclip.apis.labelling.cluster import parts
from denseclip.apis.labelling.cluster.members import Member, members
from denseclip.apis.labelling.cluster.places import Place, is_local
from denseclip.apis.labelling.cluster.plan import Header, pieces_of, read_header, unfinished
from denseclip.apis.labelling.cluster.sources import Source, find_source
from denseclip.apis.labelling.folder import CONFIDENCES, Labelled, Order, Writer, finish, settle, write_failures
from denseclip.apis.labelling.layouts import LAYOUTS
from denseclip.apis.labelling.objects import LabelObject, Rules
from denseclip.apis.labelling.store import Record, Run, Store
from denseclip.apis.results.base import Region
from denseclip.apis.segmentation import BACKGROUND_NAME
from denseclip.files.pixels import open_safely
from denseclip.structures.run_lengths import run_lengths

_ENDINGS = {'JPEG': '.jpg', 'PNG': '.png', 'WEBP': '.webp', 'BMP': '.bmp', 'TIFF': '.tif'}
_ENDING = re.compile(r'\.(tar\.gz|tgz|tar|parquet|pq)$', re.IGNORECASE)


def collect(url: str, out: str | Path, order: Order) -> Labelled:
    """Write finished shards as a labelled folder, or what an earlier call has left.

    Args:
        url: The output of shards.
        out: The labelled folder.
        order: Layout, tolerance, and how pictures come along; its rules are those of the shards.

    Raises:
        UserError: If there are no finished shards, some are missing, or they do not fit the layout.
    """
    place = Place(url)
    header = read_header(place)
    if header is None:
        raise UserError(f"'{url}' was not begun by 'denseclip label --engine ray'; name its --out.")
    order = replace(order, rules=Rules(**{key: header.run.options[key] for key in vars(Rules())}))
    order.check()
    missing = unfinished(place, header)
    if missing:
        raise UserError(
            f"{len(missing):,} of {header.shards:,} shards in '{url}' are not finished; start the command that began "
            'it again.'
        )
    if order.confidences and not header.run.options.get('confidences'):
        raise UserError(f"'{url}' was labelled without --confidences: leave them out, or label into another place.")
    layout, store = LAYOUTS[order.layout], Store(Path(out))
    run = _run(header, order)
    layout.check(run)
    options = header.run.options
    source = find_source(header.named, options['image_column'], options['key_column'])
    order = _pictures(order, source)
    store.folder.mkdir(parents=True, exist_ok=True)
    with store.alone():
        run = store.begin(run)
        settle(store, layout, run)
        known = {record.source: record.name for record in store.records()}
        writer = Writer(store, layout, run, order)
        new = 0
        for found in _named(place, header, source, known, order):
            if found[0].relative not in known:
                _write(writer, *found)
                new += 1
        records = finish(store, layout, run)
        failures = _failures(place, header)
        write_failures(store.folder, failures)
    return Labelled(store.folder, run, tuple(records), new, tuple(failures))


def _failures(place: Place, header: Header) -> list[tuple[str, str]]:
    """What got a dead letter, and why."""
    facts = parts.all_facts(place, range(header.shards), header.run)
    return [(letter.key or letter.source, letter.reason) for some in facts for letter in some.letters]


def _run(header: Header, order: Order) -> Run:
    """How the labelled folder is begun: as the same pictures would be without shards."""
    rest = header.run.options['results'] == 'instance' and order.layout == 'masks'
    return replace(header.run, layout=order.layout, options=order.options(), background=header.run.background or rest)


def _pictures(order: Order, source: Source) -> Order:
    """How pictures come along: no link leads into an archive or a bucket."""
    return order if _near(source) or order.pictures == 'none' else replace(order, pictures='copy')


Found = tuple[names.Source, Mapping[str, Any], Callable[[], bytes] | None]


def _named(place: Place, header: Header, source: Source, known: Mapping[str, str], order: Order) -> Iterator[Found]:
    """Every picture with its name, its row and, where it is wanted and in no local folder, what gives its bytes."""
    shards = range(header.shards)
    relatives = _relatives(place, header)
    by_relative = {
        found.relative: found
        for found in names.sources(Path(source.root), sorted(name for some in relatives for name in some), known)
    }
    far = order.pictures != 'none' and not _near(source)
    columns = [*parts.SCHEMA.names, *([parts.CONFIDENCES] if order.confidences else [])]
    for shard, some in zip(shards, relatives, strict=True):
        needed = far and not known.keys() >= set(some)
        inside: Iterator[tuple[int, Member]] = iter(())
        if needed:
            inside = enumerate(members(source, pieces_of(place, shard)))
        rows = _table(place, shard, columns).to_pylist()
        for relative, row in zip(some, rows, strict=True):
            content = _content_of(inside, row) if needed else None
            yield by_relative[relative], row, content


def _near(source: Source) -> bool:
    """Whether pictures are files of this machine."""
    return source.kind == 'pictures' and is_local(source.system()[0])


def _content_of(inside: Iterator[tuple[int, Member]], row: Mapping[str, Any]) -> Callable[[], bytes]:
    """What gives the bytes of a row; members come in the order of the rows, so none is kept.

    Raises:
        UserError: If the source does not hold it any more.
    """
    member = next((member for index, member in inside if index == row['index']), None)
    if member is None or member.key != row['key']:
        raise UserError(
            f"'{row['source']}' does not hold '{row['key']}' where it was labelled; bring the file back that was."
        )
    return member.content


def _relatives(place: Place, header: Header) -> list[list[str]]:
    """What the pictures of each shard are called in the labelled folder; no two have the same name.

    Keys are unique in a table or an archive at best, and may lead out of a folder.
    """
    found, used, counts = [], set(), Counter()  # type: ignore[var-annotated]
    for shard in range(header.shards):
        table = _table(place, shard, ['key', 'source'])
        some = []
        for key, file in zip(table['key'].to_pylist(), table['source'].to_pylist(), strict=True):
            relative = key
            if header.kind != 'pictures':
                inside = [part for part in key.split('/') if part not in ('', '.', '..')]
                relative = plain = '/'.join((_ENDING.sub('', file), *inside))
                while relative in used:
                    counts[plain] += 1
                    relative = f'{plain}_{counts[plain] + 1}'
                used.add(relative)
            some.append(relative)
        found.append(some)
    return found


def _table(place: Place, shard: int, columns: Sequence[str]) -> pa.Table:
    with place.system.open(place.path(parts.name_of(shard)), 'rb') as file:
        return pq.read_table(file, columns=list(columns))


def _write(writer: Writer, source: names.Source, row: Mapping[str, Any], content: Callable[[], bytes] | None) -> None:
    size = (row['height'], row['width'])
    objects = parts.objects_in(row['objects'])
    if writer.run.background and not any(entry.label == len(writer.run.names) for entry in objects):
        objects = _with_rest(objects, size, len(writer.run.names))
    if content is not None:
        data = content()
        source = replace(source, suffix=_ENDINGS.get(open_safely(io.BytesIO(data)).format or '', '.png'))
        writer.copy(source, data)
    elif writer.order.pictures != 'none':
        writer.place(source, lambda: Picture.of(source.path).rgb)
    sure = row.get(parts.CONFIDENCES)
    more = {} if sure is None else {f'{CONFIDENCES}/{source.name}.png': sure}
    writer.keep(Record(source.relative, source.name, source.file, source.split, size, objects), more)


def _with_rest(objects: tuple[LabelObject, ...], size: tuple[int, int], label: int) -> tuple[LabelObject, ...]:
    """With what no object covers as the last one; as ``objects_of(..., rest=True)`` has it."""
    rest = np.ones(size, dtype=bool)
    for entry in objects:
        mask = entry.mask
        if mask is None:
            return objects
        rest &= ~mask
    if not rest.any():
        return objects
    box = Region.of_mask(label, BACKGROUND_NAME, rest).box
    return (*objects, LabelObject(len(objects) + 1, label, box, run_lengths(rest)))
