"""Annotation files in COCO's format as they stand, and what every reader of the suite asks of their shape."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
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
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8-sig'))
    except FileNotFoundError:
        raise UnreadableFileError(f'{path}: no such file') from None
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableFileError(f'{path}: is no readable JSON ({error})') from error
    if not objects and isinstance(content, dict):
        content.setdefault('annotations', [])
    for part, keys in _NEEDED.items():
        entries = content.get(part) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise UnreadableFileError(f'{path}: has no list "{part}"; is it an annotation file in COCO\'s format?')
        for place, entry in enumerate(entries):
            lacking = [key for key in keys if not isinstance(entry, Mapping) or key not in entry]
            if lacking:
                raise UnreadableFileError(f'{path}: {part}[{place}] has no "{lacking[0]}"')
    return content, list(shape_faults(content))


def shape_faults(content: Mapping[str, Iterable[Mapping[str, Any]]]) -> Iterator[CocoFault]:
    """Values that are not what their keys hold in COCO's format; what is not there is no fault of a value.

    Args:
        content: ``images``, ``annotations`` and ``categories``.

    Yields:
        The faults in the order of the file, several of an entry if need be.
    """
    for part, rules in _RULES.items():
        for place, entry in enumerate(content[part]):
            for rule in rules:
                for key in rule.keys:
                    if key in entry and not rule.holds(entry[key]):
                        yield CocoFault(part, place, rule.kind, _said(part, place, entry, key), rule.wanted)
    texts = [isinstance(entry['id'], str) for entry in content['images']]
    for place, (entry, text) in enumerate(zip(content['images'], texts, strict=True)):
        if text != texts[0] and _is_id(entry['id']):
            yield CocoFault('images', place, 'ids', _said('images', place, entry, 'id'), _ONE_KIND)


def _said(part: str, place: int, entry: Mapping[str, Any], key: str) -> str:
    number = entry.get('id')
    named = f' (id {reprlib.repr(number)})' if key != 'id' and _is_id(number) else ''
    return f'{part}[{place}]{named} has the "{key}" {reprlib.repr(entry[key])}'


@dataclass(frozen=True)
class _Rule:
    """What a value must be."""

    keys: tuple[str, ...]
    kind: str
    holds: Callable[[Any], bool]
    wanted: str


def _is_id(value: Any) -> bool:
    return is_number(value) or isinstance(value, str)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_extent(value: Any) -> bool:
    return is_number(value) and value >= 0


def _is_box(value: Any) -> bool:
    return value is None or value == [] or (isinstance(value, list) and len(value) == 4 and all(map(is_number, value)))


def _is_area(value: Any) -> bool:
    return value is None or is_number(value)


def _is_mark(value: Any) -> bool:
    return value is None or value in (0, 1, '0', '1')


_IDS = 'an id is a number, such as 1 (that of a picture or an object may be text)'
_ONE_KIND = 'ids of pictures are either all numbers or all text'
_RULES: Mapping[str, tuple[_Rule, ...]] = {
    'images': (
        _Rule(('id',), 'ids', _is_id, _IDS),
        _Rule(('file_name',), 'unreadable', _is_name, "write the picture's file name as text"),
        _Rule(('width', 'height'), 'size', _is_extent, 'write pixels as a plain number, or leave the key out'),
    ),
    'annotations': (
        _Rule(('id', 'image_id'), 'ids', _is_id, _IDS),
        _Rule(('category_id',), 'ids', is_number, _IDS),
        _Rule(('bbox',), 'box', _is_box, 'that is not four numbers; write x, y, width, height in pixels'),
        _Rule(('area',), 'area', _is_area, 'write square pixels as a plain number, or leave the key out'),
        _Rule(('iscrowd', 'ignore'), 'crowd', _is_mark, 'write 0 or 1, or leave the key out'),
    ),
    'categories': (
        _Rule(('id',), 'ids', is_number, _IDS),
        _Rule(('name',), 'classes', _is_name, 'write the name of the class as text in quotes'),
    ),
}
