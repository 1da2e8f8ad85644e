"""The file of a finished shard: a row for each picture, and in its footer what the driver has to know.

A part is written once and whole. That it is there means that every picture of its shard has a row or a dead letter.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from denseclip.apis.errors import UserError
from denseclip.apis.labelling.cluster.places import PARTS, Place
from denseclip.apis.labelling.objects import LabelObject
from denseclip.apis.labelling.store import Run
from denseclip.apis.segmentation import with_no_class
from denseclip.core.beside import reading
from denseclip.files.damage import is_damage

_FACTS = b'denseclip'
_ROWS = 512
_READERS = 16
_AHEAD = 1000
_NAME = re.compile(r'part-(\d{8})\.parquet')
_OBJECT = pa.struct(
    {
        'id': pa.int32(),
        'class': pa.string(),
        'label': pa.int32(),
        'box': pa.list_(pa.float64()),
        'area': pa.float64(),
        'score': pa.float64(),
        'rle': pa.struct({'size': pa.list_(pa.int32()), 'counts': pa.string()}),
    }
)
SCHEMA = pa.schema(
    {
        'key': pa.string(),
        'source': pa.string(),
        'index': pa.int32(),
        'height': pa.int32(),
        'width': pa.int32(),
        'classes': pa.list_(pa.string()),
        'objects': pa.list_(_OBJECT),
    }
)
LABEL_MAP, CONFIDENCE, CONFIDENCES = 'label_map', 'confidence', 'confidences'
_MORE = {
    'label_maps': (pa.field(LABEL_MAP, pa.binary()),),
    'confidences': (pa.field(CONFIDENCE, pa.float64()), pa.field(CONFIDENCES, pa.binary())),
}
"""Columns that options ask for."""


@dataclass(frozen=True)
class Letter:
    """A picture that got no result.

    Attributes:
        key: What it is called; empty where a table or archive cannot be read on.
        source: Its file, or the table or archive that holds it.
        index: Its place in the shard.
        reason: Why.
        tries: How often it was looked at, as far as that is known of processes that died.
    """

    key: str
    source: str
    index: int
    reason: str
    tries: int


@dataclass(frozen=True)
class Facts:
    """What a part says of itself.

    Attributes:
        shard: Its number.
        pictures: Pictures with a row.
        objects: Number of objects by label.
        letters: Pictures without one.
    """

    shard: int
    pictures: int
    objects: Mapping[int, int]
    letters: tuple[Letter, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        letters = [asdict(letter) for letter in self.letters]
        return {
            **vars(self),
            'objects': {str(label): count for label, count in self.objects.items()},
            'letters': letters,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Facts:
        """See :meth:`to_json`."""
        objects = {int(label): count for label, count in data['objects'].items()}
        return cls(data['shard'], data['pictures'], objects, tuple(Letter(**letter) for letter in data['letters']))


def name_of(shard: int) -> str:
    """Name of the part of a shard."""
    return f'{PARTS}/part-{shard:08d}.parquet'


def number_of(name: str) -> int | None:
    """Shard of a part; None: it is none."""
    found = _NAME.fullmatch(name)
    return None if found is None else int(found[1])


def row(
    key: str, source: str, index: int, size: tuple[int, int], objects: Sequence[LabelObject], run: Run
) -> dict[str, Any]:
    """A row.

    Args:
        key: What the picture is called.
        source: Its file, or the one that holds it.
        index: Its place in the shard.
        size: Height and width.
        objects: What was found.
        run: Names of the classes.
    """
    names = with_no_class(run.names)
    found = [
        {
            'id': entry.id,
            'class': names[entry.label],
            'label': entry.label,
            'box': list(entry.box),
            'area': float(entry.area),
            'score': entry.score,
            'rle': None if entry.code is None else dict(entry.code),
        }
        for entry in objects
    ]
    return {
        'key': key,
        'source': source,
        'index': index,
        'height': int(size[0]),
        'width': int(size[1]),
        'classes': list(dict.fromkeys(entry['class'] for entry in found)),
        'objects': found,
    }


def objects_in(cells: Iterable[Mapping[str, Any]]) -> tuple[LabelObject, ...]:
    """What :func:`row` was made of."""
    return tuple(
        LabelObject(cell['id'], cell['label'], tuple(cell['box']), cell['rle'], cell['score'])  # type: ignore[arg-type]
        for cell in cells
    )


def write(place: Place, shard: int, rows: Sequence[Mapping[str, Any]], letters: Sequence[Letter], run: Run) -> Facts:
    """Write a part.

    Returns:
        What it says of itself.
    """
    objects = Counter(entry['label'] for found in rows for entry in found['objects'])
    facts = Facts(shard, len(rows), dict(objects), tuple(letters))
    schema = pa.schema([*SCHEMA, *(column for name, some in _MORE.items() if run.options.get(name) for column in some)])
    said = {**facts.to_json(), 'run': run.id, 'names': list(run.names)}
    schema = schema.with_metadata({_FACTS: json.dumps(said).encode('ascii')})
    out = io.BytesIO()
    with pq.ParquetWriter(out, schema, compression='zstd') as writer:
        for begin in range(0, len(rows), _ROWS):
            writer.write_table(pa.Table.from_pylist(list(rows[begin : begin + _ROWS]), schema=schema))
    place.put(name_of(shard), out.getvalue())
    return facts


def read_facts(place: Place, shard: int, run: Run) -> Facts:
    """What a part says of itself.

    Raises:
        UserError: If it cannot be read, or is of another run.
    """
    name = name_of(shard)
    try:
        with place.system.open(place.path(name), 'rb') as file:
            said = json.loads(pq.read_schema(file).metadata[_FACTS])
        facts = Facts.from_json(said)
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        if isinstance(error, OSError) and not is_damage(error):
            raise
        raise UserError(
            f"'{place.url}/{name}' cannot be read ({error}); remove it, and its pictures are labelled anew."
        ) from error
    if said['run'] != run.id:
        raise UserError(f"'{place.url}/{name}' belongs to another run; remove it, and its pictures are labelled anew.")
    return facts


def all_facts(place: Place, shards: Iterable[int], run: Run) -> Iterator[Facts]:
    """What parts say of themselves, read by threads, in the order of the shards."""
    rest = iter(shards)
    with reading(_READERS, 'footer') as pool:
        while some := list(islice(rest, _AHEAD)):  # a pool notes all that it is given at once
            yield from pool.map(lambda shard: read_facts(place, shard, run), some)
