"""Finished shards as a labelled folder, in any layout of ``denseclip label``."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from denseclip.apis.errors import UserError
from denseclip.apis.images import Picture
from denseclip.apis.labelling import names
from denseclip.apis.labelling.cluster import parts
from denseclip.apis.labelling.cluster.members import Member, members
from denseclip.apis.labelling.cluster.places import Place, is_local
from denseclip.apis.labelling.cluster.plan import Header, pieces_of, read_header, unfinished
from denseclip.apis.labelling.cluster.sources import Source, find_source
from denseclip.apis.labelling.folder import Labelled, Order, Writer, finish, settle
from denseclip.apis.labelling.layouts import LAYOUTS
from denseclip.apis.labelling.objects import LabelObject, Rules
from denseclip.apis.labelling.store import Record, Run, Store
from denseclip.apis.segmentation import BACKGROUND_NAME
from denseclip.structures.outlines import run_lengths

_ENDINGS = {'JPEG': '.jpg', 'PNG': '.png', 'WEBP': '.webp', 'BMP': '.bmp', 'TIFF': '.tif'}


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
    layout, store = LAYOUTS[order.layout], Store(Path(out))
    run = _run(header, order)
    layout.check(run.names)
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
        for found in _named(place, header, source, known):
            if found[0].relative not in known:
                _write(writer, *found)
                new += 1
        records = finish(store, layout, run)
    return Labelled(store.folder, run, tuple(records), new, ())


def _run(header: Header, order: Order) -> Run:
    """How the labelled folder is begun: as the same pictures would be without shards."""
    rest = header.run.options['results'] == 'instance' and order.layout == 'masks'
    return replace(header.run, layout=order.layout, options=order.options(), background=header.run.background or rest)


def _pictures(order: Order, source: Source) -> Order:
    """How pictures come along: no link leads into an archive or a bucket."""
    near = source.kind == 'pictures' and is_local(source.system()[0])
    return order if near or order.pictures == 'none' else replace(order, pictures='copy')


Found = tuple[names.Source, Mapping[str, Any], 'Member | None']


def _named(place: Place, header: Header, source: Source, known: Mapping[str, str]) -> Iterator[Found]:
    """Every picture with its name, its row and, where it does not lie in a local folder, what gives its bytes."""
    root = Path(source.root)
    relatives = sorted(relative for shard in range(header.shards) for relative, _ in _rows(place, header, shard))
    by_relative = {found.relative: found for found in names.sources(root, relatives, known)}
    near = source.kind == 'pictures' and is_local(source.system()[0])
    for shard in range(header.shards):
        inside = {} if near else dict(enumerate(members(source, pieces_of(place, shard))))
        for relative, row in _rows(place, header, shard):
            yield by_relative[relative], row, inside.get(row['index'])


def _rows(place: Place, header: Header, shard: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """What a picture is called in the labelled folder, and its row."""
    with place.system.open(place.path(parts.name_of(shard)), 'rb') as file:
        table = pq.read_table(file, columns=list(parts.SCHEMA.names))
    seen: Counter[str] = Counter()
    for row in table.to_pylist():
        relative = row['key']
        if header.kind != 'pictures':  # keys are unique in a file at best
            relative = f'{row["source"].partition(".")[0]}/{relative.strip("/")}'
            seen[relative] += 1
            relative += f'_{seen[relative]}' if seen[relative] > 1 else ''
        yield relative, row


def _write(writer: Writer, source: names.Source, row: Mapping[str, Any], member: Member | None) -> None:
    size = (row['height'], row['width'])
    objects = parts.objects_in(row['objects'])
    if writer.run.background and not any(entry.label == len(writer.run.names) for entry in objects):
        objects = _with_rest(objects, size, len(writer.run.names))
    if member is not None and writer.order.pictures != 'none':
        data = member.fetch()
        content = data.read_bytes() if isinstance(data, Path) else data
        source = replace(source, suffix=_ENDINGS.get(Image.open(io.BytesIO(content)).format or '', '.png'))
        writer.copy(source, content)
    elif member is None:
        writer.place(source, lambda: Picture.of(source.path).rgb)
    writer.keep(Record(source.relative, source.name, source.file, source.split, size, objects))


def _with_rest(objects: tuple[LabelObject, ...], size: tuple[int, int], label: int) -> tuple[LabelObject, ...]:
    """With what no object covers as the last one; as ``objects_of(..., rest=True)`` has it."""
    rest = np.ones(size, dtype=bool)
    for entry in objects:
        if entry.mask is None:
            return objects
        rest &= ~entry.mask
    if not rest.any():
        return objects
    from denseclip.apis.results.base import Region

    box = Region.of_mask(label, BACKGROUND_NAME, rest).box
    return (*objects, LabelObject(len(objects) + 1, label, box, run_lengths(rest)))
