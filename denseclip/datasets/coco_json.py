"""Annotation files in COCO's format as they stand, and what every reader of the suite asks of their shape."""

from __future__ import annotations

import functools
import json
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denseclip.datasets.coco_objects import is_number
from denseclip.datasets.files import UnreadableFileError

Content = dict[str, list[dict[str, Any]]]
_NEEDED = {
    'images': ('id', 'file_name'),
    'annotations': ('id', 'image_id', 'category_id'),
    'categories': ('id', 'name'),
}


@dataclass(frozen=True)
class CocoFault:
    """A value that is not what its key holds in COCO's format.

    Attributes:
        part: ``images``, ``annotations`` or ``categories``.
        place: Of the entry in its list.
        kind: What the value is about: ``'ids'``, ``'size'``, ``'box'``, ``'area'``, ``'crowd'`` or ``'classes'``.
        said: Entry, key and value, in words.
        cure: What to write.
    """

    part: str
    place: int
    kind: str
    said: str
    cure: str

    @property
    def message(self) -> str:
        """One line."""
        return f'{self.said}; {self.cure}'


class CocoFileError(UnreadableFileError):
    """An annotation file holds values that are not what their keys say.

    Args:
        path: The file.
        faults: All of them.
    """

    def __init__(self, path: str | Path, faults: Iterable[CocoFault]) -> None:
        self.faults = tuple(faults)
        alike: dict[tuple[str, str], list[CocoFault]] = {}
        for fault in self.faults:
            alike.setdefault((fault.part, fault.cure), []).append(fault)
        lines = [
            found[0].said + (f' (and {len(found) - 1} more entries alike)' if len(found) > 1 else '') + f'; {cure}'
            for (_, cure), found in alike.items()
        ]
        super().__init__(f'{path}: {"; ".join(lines)}')


def read_coco(path: str | Path, *, objects: bool = True) -> Content:
    """Read an annotation file in COCO's format.

    Args:
        path: The JSON file.
        objects: Whether a list of objects must be there; without one, as in COCO's ``image_info`` files, it is empty.

    Returns:
        ``images``, ``annotations`` and ``categories``, each a list of entries with the keys that training reads.

    Raises:
        UnreadableFileError: If the file is missing or cut off, or a key is missing.
        CocoFileError: If a value is of another kind than its key says.
    """
    content, faults = open_coco(path, objects=objects)
    if faults:
        raise CocoFileError(path, faults)
    return content


def open_coco(path: str | Path, *, objects: bool = True) -> tuple[Content, list[CocoFault]]:
    """The same as :func:`read_coco`, but what is wrong with values is returned, for those who look at all else, too.

    Args:
        path: The JSON file.
        objects: Whether a list of objects must be there.

    Raises:
        UnreadableFileError: If the file is missing or cut off, or a key is missing.
    """
    content = _read_json(path)
    if not objects and isinstance(content, dict):
        content.setdefault('annotations', [])
    for part in _NEEDED:
        _entries(path, content, part)
    return content, list(shape_faults(content))


def category_names(path: str | Path) -> tuple[str, ...]:
    """Names of the categories in the order of the file; nothing else of it is looked at, and a file is read once.

    Args:
        path: The JSON file.

    Raises:
        UnreadableFileError: If the file is missing or cut off, or names no categories.
    """
    try:
        changed = Path(path).stat().st_mtime_ns
    except OSError:
        changed = 0  # reading says what is wrong
    return _category_names(str(path), changed)


@functools.lru_cache(maxsize=64)
def _category_names(path: str, changed: int) -> tuple[str, ...]:
    del changed  # when the file was written: another file of that name is read anew
    return tuple(str(entry['name']) for entry in _entries(path, _read_json(path), 'categories'))


def _read_json(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding='utf-8-sig'))
    except FileNotFoundError:
        raise UnreadableFileError(f'{path}: no such file') from None
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableFileError(f'{path}: is no readable JSON ({error})') from error


def _entries(path: str | Path, content: Any, part: str) -> list[Any]:
    """A list of an annotation file whose entries have the keys that are needed."""
    entries = content.get(part) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise UnreadableFileError(f'{path}: has no list "{part}"; is it an annotation file in COCO\'s format?')
    for place, entry in enumerate(entries):
        lacking = [key for key in _NEEDED[part] if not isinstance(entry, Mapping) or key not in entry]
        if lacking:
            raise UnreadableFileError(f'{path}: {part}[{place}] has no "{lacking[0]}"')
    return entries


def shape_faults(content: Mapping[str, Iterable[Mapping[str, Any]]]) -> Iterator[CocoFault]:
    """Values that are not what their keys hold in COCO's format; what is not there is no fault of a value.

    Args:
        content: ``images``, ``annotations`` and ``categories``.

    Yields:
        The faults in the order of the file, several of an entry if need be.
    """
    for part, rules in RULES.items():
        for place, entry in enumerate(content[part]):
            for rule in rules:
                for key in rule.broken(entry):
                    yield CocoFault(part, place, rule.kind, _said(part, place, entry, key), rule.wanted)
    texts = [isinstance(entry['id'], str) for entry in content['images']]
    for place, (entry, text) in enumerate(zip(content['images'], texts, strict=True)):
        if text != texts[0] and is_id(entry['id']):
            yield CocoFault('images', place, 'ids', _said('images', place, entry, 'id'), _ONE_KIND)


def _said(part: str, place: int, entry: Mapping[str, Any], key: str) -> str:
    number = entry.get('id')
    named = f' (id {reprlib.repr(number)})' if key != 'id' and is_id(number) else ''
    return f'{part}[{place}]{named} has the "{key}" {reprlib.repr(entry[key])}'


@dataclass(frozen=True)
class Rule:
    """What the values of some keys must be.

    Attributes:
        keys: The keys.
        kind: What they are about, as of :class:`CocoFault`.
        holds: Whether a value is one of them.
        wanted: What to write, in words.
    """

    keys: tuple[str, ...]
    kind: str
    holds: Callable[[Any], bool]
    wanted: str

    def broken(self, entry: Mapping[str, Any]) -> list[str]:
        """Keys of an entry that hold something else; a key that is not there is none of them."""
        return [key for key in self.keys if key in entry and not self.holds(entry[key])]


def is_id(value: Any) -> bool:
    """Whether a value can be the id of a picture or an object."""
    return is_number(value) or isinstance(value, str)


def is_name(value: Any) -> bool:
    """Whether a value is text with something in it."""
    return isinstance(value, str) and bool(value.strip())


def is_extent(value: Any) -> bool:
    """Whether a value is a number of pixels; 0 for unknown."""
    return is_number(value) and value >= 0


def is_box(value: Any) -> bool:
    """Whether a value is a box; null or nothing for none."""
    return value is None or value == [] or (isinstance(value, list) and len(value) == 4 and all(map(is_number, value)))


def is_area(value: Any) -> bool:
    """Whether a value is an area; null for unknown."""
    return value is None or is_number(value)


def is_mark(value: Any) -> bool:
    """Whether a value says yes or no; null for unsaid."""
    return value is None or value in (0, 1, '0', '1')


_IDS = 'an id is a number, such as 1 (that of a picture or an object may be text)'
_ONE_KIND = 'ids of pictures are either all numbers or all text'
SIZES = Rule(('width', 'height'), 'size', is_extent, 'write pixels as a plain number, or leave the key out')
AREA = Rule(('area',), 'area', is_area, 'write square pixels as a plain number, or leave the key out')
MARKS = Rule(('iscrowd', 'ignore'), 'crowd', is_mark, 'write 0 or 1, or leave the key out')
NAME = Rule(('name',), 'classes', is_name, 'write the name of the class as text in quotes')
FILE_NAME = Rule(('file_name',), 'unreadable', is_name, 'write the name of the file as text')
RULES: Mapping[str, tuple[Rule, ...]] = {
    'images': (Rule(('id',), 'ids', is_id, _IDS), FILE_NAME, SIZES),
    'annotations': (
        Rule(('id', 'image_id'), 'ids', is_id, _IDS),
        Rule(('category_id',), 'ids', is_number, _IDS),
        Rule(('bbox',), 'box', is_box, 'that is not four numbers; write x, y, width, height in pixels'),
        AREA,
        MARKS,
    ),
    'categories': (Rule(('id',), 'ids', is_number, _IDS), NAME),
}
"""What every value is, by the part of the file."""


def ids_by_name(content: Mapping[str, Sequence[Mapping[str, Any]]], source: str | Path) -> dict[str, Any]:
    """Ids of categories by their names.

    Of several categories of one name the one that has objects counts: exports of Roboflow list the project, too, which
    is often called as its class is.

    Args:
        content: ``categories`` and ``annotations`` of a file in COCO's format.
        source: File to name in the error.

    Returns:
        The id of every name, in the order of the file.

    Raises:
        ValueError: Two categories with objects have one name, or two have one id.
    """
    entries = [(str(entry['name']), entry['id']) for entry in content['categories']]
    found = dict(entries)
    if len(found) == len(entries) == len({cat_id for _, cat_id in entries}):
        return found
    used = {entry['category_id'] for entry in content['annotations']}
    for name in found:
        ids = [cat_id for other, cat_id in entries if other == name]
        filled = [cat_id for cat_id in ids if cat_id in used] or ids[:1]
        if len(filled) > 1:
            listed = ' and '.join(repr(cat_id) for cat_id in filled)
            raise ValueError(
                f'{source}: the categories {listed} are both called "{name}" and both have objects; give each a name '
                'of its own, or its objects to one of them'
            )
        found[name] = filled[0]
    for name, cat_id in entries:
        if list(found.values()).count(cat_id) > 1:
            raise ValueError(f'{source}: several categories have the id {cat_id!r}, one is "{name}"; number them anew')
    return found
