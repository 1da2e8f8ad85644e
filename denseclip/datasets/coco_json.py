"""Annotation files in COCO's format as they stand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from denseclip.datasets.files import UnreadableFileError

_NEEDED = {
    'images': ('id', 'file_name'),
    'annotations': ('id', 'image_id', 'category_id'),
    'categories': ('id', 'name'),
}


def read_coco(path: str | Path, *, objects: bool = True) -> dict[str, list[dict[str, Any]]]:
    """Read an annotation file in COCO's format.

    Args:
        path: The JSON file.
        objects: Whether a list of objects must be there; without one, as in COCO's ``image_info`` files, it is empty.

    Returns:
        ``images``, ``annotations`` and ``categories``, each a list of entries with the keys that training reads.

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
            odd = [key for key in keys if key.endswith('id') and not isinstance(entry[key], int | float | str)]
            if odd:
                raise UnreadableFileError(f'{path}: {part}[{place}] has the {odd[0]} {entry[odd[0]]!r}, no number')
    return content
