"""Class lists as JSON and YAML hold them: names, further names, ids with names, COCO's categories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .structure import ClassList, Group, VocabularyError, by_id, short

_YOLO = frozenset(('nc', 'path', 'train', 'val'))
_WRAPPERS = ('categories', 'id2label', 'label2id', 'names', 'classes', 'class_names')


def from_data(data: Any) -> ClassList:
    """Read what JSON or YAML hold: names, names with further names, ids with names, COCO's categories.

    Raises:
        VocabularyError: If it is none of these.
    """
    if isinstance(data, Mapping):
        return _from_mapping(data)
    if not isinstance(data, list):
        raise VocabularyError(f'{short(repr(data))} is no list of names; give ["road", "sky"].')
    if data and all(isinstance(item, Mapping) and _is_id(item.get('id')) for item in data):
        items, notes, ids = by_id([(int(item['id']), item) for item in data], lambda item: str(item.get('name')))
        return ClassList(tuple(_data_group(item, n) for n, item in enumerate(items)), (), tuple(notes), ids)
    return ClassList(tuple(_data_group(item, number) for number, item in enumerate(data)))


def _from_mapping(data: Mapping[str, Any]) -> ClassList:
    inner = next((data[key] for key in _WRAPPERS if isinstance(data.get(key), list | Mapping)), None)
    plain = all(_names_of(value) is not None for value in data.values())
    if inner is not None and (len(data) == 1 or not plain or _YOLO & data.keys()):
        return from_data(inner)
    if data and all(_is_id(key) for key in data):
        items, notes, ids = by_id([(int(key), value) for key, value in data.items()], _first_name)
        return ClassList(tuple(_data_group(item, n) for n, item in enumerate(items)), (), tuple(notes), ids)
    if data and all(_is_id(value) for value in data.values()):
        names, notes, ids = by_id([(int(value), str(key)) for key, value in data.items()], str)
        return ClassList(tuple((name, ()) for name in names), (), tuple(notes), ids)
    groups = []
    for number, (name, value) in enumerate(data.items()):
        more = _names_of(value)
        if more is None or not isinstance(name, str):
            raise VocabularyError(f"'{name}': {short(repr(value))} are no further names; give a list of text.", number)
        groups.append((name, tuple(more)))
    return ClassList(tuple(groups))


def _names_of(value: Any) -> list[str] | None:
    """Further names of a class; None if it is something else."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    return value if isinstance(value, list) and all(isinstance(name, str) for name in value) else None


def _first_name(item: Any) -> str:
    return str(item[0] if isinstance(item, list) and item else item)


def _data_group(item: Any, position: int) -> Group:
    if isinstance(item, Mapping) and isinstance(item.get('name'), str):
        more = _names_of(item.get('synonyms', item.get('aliases')))
        return item['name'], tuple(more or ())
    if isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and isinstance(item[1], list):
        item = [item[0], *item[1]]
    names = _names_of(item)
    if not names:
        raise VocabularyError(f'{short(repr(item))} is no class name; write it as text, "{item}".', position)
    return names[0], tuple(names[1:])


def _is_id(value: Any) -> bool:
    if isinstance(value, str):
        return value.isdecimal() and len(value) < 10
    return isinstance(value, int) and not isinstance(value, bool)


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; a name that stands there twice is not lost silently."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise VocabularyError(f"duplicate class name: '{key}' is listed twice; keep one of them.")
        found[key] = value
    return found
