"""Annotation files in COCO's format as tools write them, made into what training and pycocotools read.

The file itself stays as it is: what is changed is written to another place, and said in a line.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from denseclip.datasets.coco_json import Content, ids_by_name
from denseclip.datasets.coco_objects import (
    is_number,
    is_side,
    mask_area,
    mask_box,
    mask_fault,
    plain_polygons,
    polygon_fault,
)
from denseclip.datasets.files import UnreadableFileError, image_size

CROWDS = ('auto', 'keep', 'objects')
"""What becomes of ``iscrowd: 1``: taken off where a class has nothing else, kept, or taken off everywhere."""


def mend_coco(content: Content, source: str | Path, pictures: Path) -> list[str]:
    """Fill in and put right, in place, what can be told from the file itself.

    Args:
        content: ``images``, ``annotations`` and ``categories`` of a file in COCO's format.
        source: The file, for the lines.
        pictures: Folder that its file names start from.

    Returns:
        What was changed, a line each; without a line nothing was.
    """
    notes: Counter[str] = Counter()
    sizes = {}
    for image in content['images']:
        _mend_size(image, pictures, notes)
        sizes[image['id']] = (image.get('width'), image.get('height'))
    for entry in content['annotations']:
        width, height = sizes.get(entry['image_id'], (None, None))
        for mend in (_mend_polygons, _mend_box, _mend_crowd):
            mend(entry, notes)
        _mend_area(entry, width, height, notes)
    _number(content['annotations'], notes)
    return [f'{source}: {line.format(count)}' for line, count in notes.items()]


def unmark_crowds(content: Content, crowds: str) -> list[str]:
    """Take ``iscrowd: 1`` off objects, in place.

    Args:
        content: Of a mended file in COCO's format.
        crowds: One of :data:`CROWDS`; ``auto`` takes it off classes that have nothing else.

    Returns:
        What was changed, a line each.
    """
    names = {entry['id']: str(entry['name']) for entry in content['categories']}
    plain = {entry['category_id'] for entry in content['annotations'] if not entry['iscrowd']}
    found: Counter[str] = Counter()
    for entry in content['annotations']:
        only = entry['category_id'] not in plain
        if entry['iscrowd'] and (crowds == 'objects' or (crowds == 'auto' and only)):
            entry['iscrowd'] = 0
            found[names.get(entry['category_id'], '?')] += 1
    if not found:
        return []
    listed = ', '.join(f'{name} ({count})' for name, count in found.items())
    why = 'as asked for' if crowds == 'objects' else 'there are no others of the class; --crowds keep leaves it'
    return [f'iscrowd=1, by which training and scores leave objects out, is taken off {listed}: {why}']


def _mend_size(image: dict[str, Any], pictures: Path, notes: Counter[str]) -> None:
    if is_side(image.get('width')) and is_side(image.get('height')):
        return
    try:
        image['height'], image['width'] = image_size(pictures / str(image['file_name']))
    except UnreadableFileError:
        return  # the audit says so
    notes['width and height of {} pictures are filled in from the pictures'] += 1


def _mend_polygons(entry: dict[str, Any], notes: Counter[str]) -> None:
    """One flat polygon, polygons of points, and pieces without extent beside sound ones."""
    given = entry.get('segmentation')
    polygons = plain_polygons(given)
    if polygons != given:
        notes['{} masks that are no list of flat polygons are read as such'] += 1
    if isinstance(polygons, list) and polygons:
        sound = [polygon for polygon in polygons if not polygon_fault(polygon)]
        if sound and len(sound) < len(polygons):
            notes['pieces of {} masks that have fewer than three points are left out'] += 1
            polygons = sound
    if polygons is not given:
        entry['segmentation'] = polygons


def _mend_box(entry: dict[str, Any], notes: Counter[str]) -> None:
    box = mask_box(entry['segmentation']) if not entry.get('bbox') and entry.get('segmentation') else None
    if box:
        entry['bbox'] = box
        notes['boxes of {} objects are drawn around their masks'] += 1


def _mend_crowd(entry: dict[str, Any], notes: Counter[str]) -> None:
    given = entry.get('iscrowd')
    crowd = given in (1, '1', True)
    if given not in (0, 1) or isinstance(given, bool | float):
        entry['iscrowd'] = int(crowd)
        notes['iscrowd of {} objects is filled in'] += 1
    if entry.pop('ignore', 0) in (1, '1', True) and not crowd:
        entry['iscrowd'] = 1
        notes['{} objects marked ignore are marked iscrowd=1, so that training and scores leave them out'] += 1


def _mend_area(entry: dict[str, Any], width: Any, height: Any, notes: Counter[str]) -> None:
    if is_number(entry.get('area')) and entry['area'] > 0:
        return
    area: float = 0
    if is_side(width) and is_side(height) and not mask_fault(entry.get('segmentation'), width, height):
        area = mask_area(entry['segmentation'], int(width), int(height))
    box = entry.get('bbox')
    if not area and isinstance(box, list) and len(box) == 4 and all(map(is_number, box)):
        area = box[2] * box[3]
    if area > 0:
        entry['area'] = area
        notes['area of {} objects is filled in'] += 1


def _number(annotations: list[dict[str, Any]], notes: Counter[str]) -> None:
    """Number objects from 1 if an id is 0 or no number; ids that are only repeated are left to the audit."""
    if all(is_number(entry['id']) and entry['id'] for entry in annotations):
        return
    for number, entry in enumerate(annotations, start=1):
        entry['id'] = number
    notes['{} objects are numbered from 1: pycocotools takes the id 0, and text, for no object'] += len(annotations)


def merge_coco(parts: Mapping[Path, tuple[Content, Path]]) -> tuple[Content, Path]:
    """One file of several that hold parts of the pictures, or of the classes.

    Args:
        parts: Content and picture folder of each file.

    Returns:
        The content, with pictures and objects numbered from 1 and categories by name, and the folder that all pictures
        lie under.

    Raises:
        ValueError: Two files hold the same object.
    """
    root = _common_folder([pictures for _, pictures in parts.values()])
    numbers: dict[str, int] = {}
    images: dict[str, dict[str, Any]] = {}
    annotations: list[dict[str, Any]] = []
    origin: dict[tuple[Any, ...], Path] = {}
    for path, (content, pictures) in parts.items():
        names = {cat_id: name for name, cat_id in ids_by_name(content, path).items()}
        here: dict[Any, int] = {}
        for image in content['images']:
            name = Path(os.path.relpath(pictures / str(image['file_name']), root)).as_posix()
            entry = images.setdefault(name, {**image, 'id': len(images) + 1, 'file_name': name})
            here[image['id']] = entry['id']
        for known in names.values():
            numbers.setdefault(known, len(numbers) + 1)
        for entry in content['annotations']:
            found = names.get(entry['category_id'])
            ids = {
                'image_id': here.get(entry['image_id'], f'{path.name}: {entry["image_id"]}'),
                'category_id': numbers.get(str(found), f'{path.name}: {entry["category_id"]}'),
            }
            key = (ids['image_id'], found, *(entry.get('bbox') or ()))
            if origin.setdefault(key, path) != path:
                box = entry.get('bbox')
                raise ValueError(f'{origin[key]} and {path} hold the same object ({found}, {box}); remove one')
            annotations.append({**entry, **ids, 'id': len(annotations) + 1})
    categories = [{'id': number, 'name': name} for name, number in numbers.items()]
    return {'images': list(images.values()), 'annotations': annotations, 'categories': categories}, root


def _common_folder(folders: list[Path]) -> Path:
    found = folders[0]
    while not all(folder.is_relative_to(found) for folder in folders):
        found = found.parent
    return found


Renaming = Callable[[str], str]
RENAMINGS: tuple[tuple[str, Renaming], ...] = (
    ('', lambda name: name),
    ('backslashes in file names are read as slashes', lambda name: name.replace('\\', '/')),
    ('folders in file names are left out', lambda name: name.replace('\\', '/').rsplit('/', 1)[-1]),
)
"""Ways to read the file names of another machine, and how each is said."""
