"""All that is wrong with label maps, before anything is made of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from denseclip.datasets.audit_report import Problem
from denseclip.datasets.files import UnreadableFileError, picture_size
from denseclip.datasets.own_data.data import Pair
from denseclip.datasets.own_data.map_files import MapReader
from denseclip.datasets.own_data.map_splits import Part

_SAID = 5  # problems of a kind


def survey(parts: Mapping[str, Part], reader: MapReader, known: Collection[int]) -> list[Problem]:
    """Look through every pair, as the audit does through the data set that will be made.

    Args:
        parts: Pairs by split.
        reader: Reads the label maps.
        known: Ids that are a class, or ignored.

    Returns:
        All problems, in the order of the files.
    """
    problems: list[Problem] = []
    look = partial(_look, reader=reader, known=frozenset(known))
    for part in parts.values():
        problems += part.problems
        problems += [Problem('unpaired', f'{path}: has no picture', str(path)) for path in part.orphans]
        with ThreadPoolExecutor(2) as pool:
            for found in pool.map(lambda pair: list(look(pair)), part.pairs.values()):
                problems += found
    return problems


def in_words(problems: Sequence[Problem]) -> str:
    """Problems as one line: their number by kind, and the first of each."""
    lines = []
    for kind, count in Counter(problem.kind for problem in problems).items():
        said = [problem.message for problem in problems if problem.kind == kind]
        more = [f'and {count - _SAID} more'] if count > _SAID else []
        lines.append(f'{kind} ({count}): {"; ".join([*said[:_SAID], *more])}')
    return '. '.join(lines)


def _look(pair: Pair, reader: MapReader, known: frozenset[int]) -> Iterator[Problem]:
    size = None
    try:
        size = picture_size(pair.picture)
    except UnreadableFileError as error:
        yield Problem('unreadable', str(error))
    if not pair.label.is_file():
        yield Problem('unpaired', f'{pair.picture}: has no label map {pair.label}')
        return
    try:
        ids, _ = reader.read(pair.label)
    except UnreadableFileError as error:
        yield Problem('unreadable', str(error))
        return
    if size is not None:
        message = f'{pair.label}: size {ids.shape} differs from its picture {size.upright} (h, w)'
        fault = size.fault(ids.shape, message)
        if fault:
            yield Problem('size', fault)
    yield from _strange(pair.label, np.unique(ids).tolist(), known)


def _strange(label: Path, ids: Iterable[int], known: frozenset[int]) -> Iterator[Problem]:
    strange = [i for i in ids if i not in known]
    if strange:
        listed = ', '.join(map(str, strange[:10])) + (' ...' if len(strange) > 10 else '')
        yield Problem('ids', f'{label}: label ids out of range: {listed}')
