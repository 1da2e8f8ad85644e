"""How WebDataset names things: samples by what stands before the first dot, lists of shards as ``{000..123}``.

Numbers between dots are part of a sample's name here, as cameras and dates have them: ``IMG.0001.png`` is no second
part of ``IMG``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

_MEMBER = re.compile(r'((?:.*/)?[^./]+(?:\.[0-9]+(?=\.))*)\.([^/]*)', re.DOTALL)
_RANGE = re.compile(r'\{(\d+)\.\.(\d+)\}')


def key_and_ending(name: str) -> tuple[str, str] | None:
    """Key of the sample that a member of a tar belongs to, and its ending in lower case.

    Args:
        name: Of the member; a ``./`` in front is no part of the key.

    Returns:
        Both; None for what belongs to no sample: hidden files, and those without an ending.
    """
    found = _MEMBER.fullmatch(name.removeprefix('./'))
    return None if found is None else (found[1], found[2].lower())


def whole_stem(name: str) -> tuple[str, str]:
    """All of a member's name before its last dot, and its last ending in lower case.

    Args:
        name: As in :func:`key_and_ending`, of a member that belongs to a sample.
    """
    stem, _, ending = name.removeprefix('./').rpartition('.')
    return stem, ending.lower()


def spelled_out(pattern: str) -> Iterator[str]:
    """Names that ``{000..123}`` stands for; as in a shell, with the zeros of its first number, downwards, too.

    Args:
        pattern: A name, with any number of ranges; the last one runs fastest.
    """
    parts = _RANGE.split(pattern)
    ranges = [_numbers(first, last) for first, last in zip(parts[1::3], parts[2::3], strict=True)]
    for chosen in product(*ranges):
        yield ''.join(text for pair in zip(parts[::3], (*chosen, ''), strict=True) for text in pair)


def _numbers(first: str, last: str) -> list[str]:
    begin, end = int(first), int(last)
    step = 1 if begin <= end else -1
    return [str(number).zfill(len(first)) for number in range(begin, end + step, step)]
