"""Files beside label maps that say what ids or colours mean.

====================  ==========================================================================================
``labelmap.txt``      ``name:R,G,B:parts:actions``, an id a line (CVAT, Datumaro)
``label_colors.txt``  ``R G B name``, an id a line (CamVid, CVAT, Datumaro)
``class_dict.csv``    ``name,r,g,b`` below a line that says so
``_classes.csv``      ``id, name`` below a line that says so (Roboflow)
``class_names.txt``   a name a line, from id 0 (labelme)
``codes.txt``         a name a line, from id 0 (fastai's CamVid)
====================  ==========================================================================================

``__ignore__`` is no class; as labelme's first line it has the id -1, which its label maps hold as 255. Other lists of
names (``labels.txt``, ``classes.txt``) do not say whether the first is id 0 or 1, so they are not read by themselves.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from denseclip.datasets.converters.layout import ConversionError
from denseclip.datasets.files import read_text

Colour = tuple[int, int, int]
IGNORED_NAME = '__ignore__'
_ORDERS = ('classes.txt', 'labels.txt')


@dataclass(frozen=True)
class ClassFile:
    """What such a file says.

    Attributes:
        path: The file, or what else says it, in words.
        names: By id, without those that are no class.
        colours: Id of each colour, 255 for what is no class; empty where ids stand in the label maps.
    """

    path: Path | str
    names: dict[int, str]
    colours: dict[Colour, int]


def find_class_file(folder: Path) -> ClassFile | None:
    """Read the class file of a data set, if it has one.

    Args:
        folder: The data set.

    Raises:
        ConversionError: If a line cannot be read, or two classes have one name or one colour.
    """
    for name, read in _READERS.items():
        path = folder / name
        if path.is_file():
            return _checked(path, read(path, _lines(path)))
    return None


def by_line(path: Path) -> list[str]:
    """Names of a list in which the number of a line is the id; blank lines at its end do not count.

    Raises:
        ConversionError: A line before is blank, so that those behind it would have other ids.
    """
    lines = [line.strip() for line in read_text(path).rstrip().splitlines()]
    if '' in lines:
        raise ConversionError(
            f'{path}: line {lines.index("") + 1} is blank, so it is not clear whether the classes behind it count on '
            'without it; write a name there, or remove the line'
        )
    return lines


def listed_first(folder: Path, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Names of classes in the order of a list beside the data (``classes.txt``, ``labels.txt``); the others sorted.

    Args:
        folder: The data set.
        names: As they stand in its files.

    Returns:
        The names, those of the list alone among them; and a note where a list was read.
    """
    found = set(names)
    for path in (folder / name for name in _ORDERS):
        listed = read_text(path).split('\n') if path.is_file() else []
        known = [name for name in map(str.strip, listed) if name and name not in (IGNORED_NAME, '_background_')]
        if found & set(known):
            return list(dict.fromkeys([*known, *sorted(found)])), [f'order of the classes from {path}']
    return sorted(found), []


def _lines(path: Path) -> list[tuple[int, str]]:
    """Numbered lines with something in them, without comments."""
    text = read_text(path)
    lines = [(number, line.strip()) for number, line in enumerate(text.split('\n'), start=1)]
    return [(number, line) for number, line in lines if line and not line.startswith('#')]


Entries = list[tuple[int, str, Colour | None]]


def _coloured(pattern: str) -> Callable[[Path, list[tuple[int, str]]], Entries]:
    def read(path: Path, lines: list[tuple[int, str]]) -> Entries:
        entries: Entries = []
        for number, line in lines:
            found = re.fullmatch(pattern, line)
            if found is None and number == 1 and not re.search(r'\d', line):
                continue  # a line of headings
            colour = tuple(int(found[key]) for key in 'rgb') if found else ()
            if found is None or max(colour) > 255:
                raise ConversionError(f'{path}, line {number}: {line!r} is no name with three numbers from 0 to 255')
            entries.append((len(entries), found['name'].strip(), (colour[0], colour[1], colour[2])))
        return entries

    return read


def _numbered(path: Path, lines: list[tuple[int, str]]) -> Entries:
    entries: Entries = []
    for number, line in lines:
        value, _, name = line.partition(',')
        if number == 1 and not value.strip().isdecimal():
            continue  # a line of headings
        if not value.strip().isdecimal() or not name.strip():
            raise ConversionError(f'{path}, line {number}: {line!r} is no id and name')
        entries.append((int(value), name.strip(), None))
    return entries


def _listed(path: Path, lines: list[tuple[int, str]]) -> Entries:
    gap = next((before for (before, _), (number, _) in pairwise(lines) if number > before + 1), None)
    if gap is not None and path.name != 'codes.txt':  # NumPy reads that, and passes over such lines
        raise ConversionError(f'{path}: line {gap + 1} names no class, though its number is an id; write a name there')
    first = -1 if lines and lines[0][1] == IGNORED_NAME else 0
    return [(place, name, None) for place, (_, name) in enumerate(lines, start=first)]


_READERS = {
    'labelmap.txt': _coloured(r'(?P<name>.+):\s*(?P<r>\d+)\s*,\s*(?P<g>\d+)\s*,\s*(?P<b>\d+)\s*(:[^:]*(:[^:]*)?)?'),
    'label_colors.txt': _coloured(r'(?P<r>\d+)[\s,]+(?P<g>\d+)[\s,]+(?P<b>\d+)[\s,:]+(?P<name>.+)'),
    'class_dict.csv': _coloured(r'"?(?P<name>.+?)"?\s*,\s*(?P<r>\d+)\s*,\s*(?P<g>\d+)\s*,\s*(?P<b>\d+)'),
    '_classes.csv': _numbered,
    'class_names.txt': _listed,
    'codes.txt': _listed,
}


def _checked(path: Path, entries: Entries) -> ClassFile:
    for what, values in (('name', [n for _, n, _ in entries]), ('colour', [c for _, _, c in entries if c])):
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            raise ConversionError(f'{path}: two classes have the {what} {twice[0]}; give each its own')
    names = {i: re.sub(r'^_+background_+$', 'background', name) for i, name, _ in entries if name != IGNORED_NAME}
    if not names:
        raise ConversionError(f'{path}: names no class')
    if max(names) > 254:
        raise ConversionError(f'{path}: has the id {max(names)}; label maps of one byte have classes up to 254')
    colours = {colour: i if i in names else 255 for i, _, colour in entries if colour}
    return ClassFile(path, names, colours)
