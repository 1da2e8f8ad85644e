"""Labels as files of the whole set for annotation tools: CVAT, Datumaro, Label Studio, FiftyOne."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from denseclip.apis.labelling import coco
from denseclip.apis.labelling.shape_files import known
from denseclip.apis.labelling.store import Record, Run
from denseclip.apis.results.base import Region
from denseclip.apis.results.cvat import cvat_xml
from denseclip.apis.results.datumaro import datumaro_data
from denseclip.apis.results.label_studio import label_config, tasks
from denseclip.apis.results.sheets import Sheet
from denseclip.visualization.palette import palette_for

WHOLE = 'default'
"""What Datumaro calls the subset of a set that is not split."""


def nothing(record: Record, run: Run) -> Iterator[tuple[str, str]]:
    """No file: all pictures share one."""
    del record, run
    yield from ()


def cvat_set(records: Sequence[Record], run: Run) -> Iterator[tuple[str, bytes]]:
    """``annotations.xml``, "CVAT for images 1.1"."""
    yield 'annotations.xml', cvat_xml([sheet(record, run) for record in records], run.names, run.tolerance)


def datumaro_place(file: str, split: str) -> str:
    """Pictures of a subset lie in a folder of its name, which is the first one of their paths."""
    return f'images/{file}' if split else f'images/{WHOLE}/{file}'


def datumaro_set(records: Sequence[Record], run: Run) -> Iterator[tuple[str, str]]:
    """``annotations/SUBSET.json``; subsets are called as the folders of the splits."""
    for subset, part in _by_top(records, WHOLE).items():
        paths = {record.file: _below(record) for record in part}
        content = datumaro_data((sheet(record, run) for record in part), run.names, paths)
        yield f'annotations/{subset}.json', json.dumps(content, ensure_ascii=False)


def label_studio_set(records: Sequence[Record], run: Run) -> Iterator[tuple[str, str]]:
    """``tasks.json`` to import, and ``label_config.xml`` for the project; pictures are local files of the folder."""
    found = tasks((sheet(record, run, 'images/') for record in records), run.names, run.tolerance)
    yield 'tasks.json', json.dumps(found, ensure_ascii=False)
    yield 'label_config.xml', label_config(run.names, palette_for(run.names))


def fiftyone_place(file: str, split: str) -> str:
    """Pictures lie in ``data`` beside their ``labels.json``."""
    top, _, below = file.partition('/')
    return f'{top}/data/{below}' if split else f'data/{file}'


def fiftyone_set(records: Sequence[Record], run: Run) -> Iterator[tuple[str, str]]:
    """``labels.json``, or one in the folder of each split: FiftyOne's ``COCODetectionDataset``."""
    for top, part in _by_top(records, '').items():
        content = coco.content(part, run, _below)
        yield f'{top}/labels.json' if top else 'labels.json', json.dumps(content)


def sheet(record: Record, run: Run, folder: str = '') -> Sheet:
    """The sheet of a finished picture.

    Args:
        record: The picture.
        run: How the labelled folder was begun.
        folder: What its path begins with.
    """

    def regions() -> list[Region]:
        return [
            Region(entry.label, run.names[entry.label], entry.box, entry.mask, entry.score)
            for entry in known(record, run)
        ]

    return Sheet(folder + record.file, record.size, regions, record.split)


def _by_top(records: Sequence[Record], whole: str) -> dict[str, list[Record]]:
    """Pictures by the folder of their split; those of a set that is not split under ``whole``."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.file.partition('/')[0] if record.split else whole, []).append(record)
    return found


def _below(record: Record) -> str:
    """Path of a picture below the folder of its split."""
    return record.file.partition('/')[2] if record.split else record.file
