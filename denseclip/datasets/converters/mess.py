"""Bring sets of the MESS benchmark into one layout, ``images/NAME`` and ``annotations/NAME.png``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from denseclip.datasets.converters.layout import ConversionError, complete_or_absent, place, raise_if_any
from denseclip.datasets.converters.mess_sets import IGNORED, MESS_FILES, Item, MessSet
from denseclip.datasets.files import UnreadableFileError, open_picture
from denseclip.files.pixels import NoRangeError, rgb_pixels, upright

TILE = 1024


def convert_mess(
    name: str,
    source: str | Path,
    target: str | Path,
    *,
    link: bool = False,
    force: bool = False,
    num_workers: int = 2,
) -> dict[str, int]:
    """Make ``images`` and ``annotations`` of what a set is scored on: its test split, or its validation split.

    Args:
        name: One of :data:`~denseclip.datasets.converters.mess_sets.MESS_FILES`.
        source: The unpacked folder of the set.
        target: Folder to make, usually ``data/mess/NAME``.
        link: Make symbolic links to pictures that are taken over as they are.
        force: Replace ``target`` when it exists.
        num_workers: Threads that decode files.

    Returns:
        Number of pictures, or of tiles.

    Raises:
        ConversionError: If there is no such set, the folder is another, a file is missing, unreadable, of another size
            than its picture or holds ids or colours that the set does not have; or if ``target`` may not be written.
    """
    name = name.removeprefix('mess_')
    if name not in MESS_FILES:
        raise ConversionError(f"no set is called '{name}'; there are {', '.join(MESS_FILES)}")
    rules, source = MESS_FILES[name], Path(source)
    items = _items(rules, source)
    with complete_or_absent(Path(target), sources=[source], force=force) as staging:

        def convert(item: Item) -> tuple[str | None, int]:
            try:
                return None, _write(item, rules, staging, link=link)
            except (UnreadableFileError, ConversionError) as error:
                return str(error), 0

        with ThreadPoolExecutor(max(1, num_workers)) as pool:
            found = list(pool.map(convert, items))
        raise_if_any([problem for problem, _ in found if problem], source)
    return {'tiles' if rules.tiles else 'pictures': sum(count for _, count in found)}


def _items(rules: MessSet, source: Path) -> Sequence[Item]:
    """What is to be converted.

    Raises:
        ConversionError: If there is nothing, or two pictures would have one name.
    """
    try:
        items = list(rules.find(source))
    except UnreadableFileError as error:
        raise ConversionError(f'{error}; the folder should be {rules.where}') from error
    if not items:
        raise ConversionError(f'{source}: no pictures; the folder should be {rules.where}')
    twice = [name for name, count in Counter(item.name for item in items).items() if count > 1]
    raise_if_any([f'two pictures are called {name}' for name in twice], source)
    return items


def _write(item: Item, rules: MessSet, staging: Path, *, link: bool) -> int:
    """One picture and its labels, or their tiles; how many files of each."""
    labels = rules.read(item.label)
    with open_picture(item.image) as image:
        turned = upright(image)
        if turned.size != labels.shape[::-1]:
            shape = f'{labels.shape} differs from its picture {turned.size[::-1]} (height, width)'
            raise ConversionError(f'{item.label}: size {shape}')
        same = item.image.suffix in (rules.suffix, '.jpeg' if rules.suffix == '.jpg' else rules.suffix, '.PNG')
        try:
            pixels = None if same and not rules.tiles else rgb_pixels(turned)
        except NoRangeError as error:
            raise ConversionError(f'{item.image}: {error}') from error
    images, annotations = staging / 'images', staging / 'annotations'
    for folder in (images, annotations):
        folder.mkdir(parents=True, exist_ok=True)
    if pixels is None:
        place(item.image, images / f'{item.name}{rules.suffix}', link=link)
        Image.fromarray(labels).save(annotations / f'{item.name}.png')
        return 1
    pictures, maps = ([pixels], [labels]) if not rules.tiles else (cut(pixels, 0), cut(labels, IGNORED))
    for number, (picture, tile) in enumerate(zip(pictures, maps, strict=True)):
        name = f'{item.name}_{number}' if rules.tiles else item.name
        Image.fromarray(picture).save(images / f'{name}{rules.suffix}')
        Image.fromarray(tile).save(annotations / f'{name}.png')
    return len(pictures)


def cut(planes: np.ndarray, padding: int) -> list[np.ndarray]:
    """Tiles of :data:`TILE` without overlap, row by row; what sticks out at the right and bottom is padded.

    Shape:
        - planes: ``H x W`` or ``H x W x C``
    """
    room = [(0, -side % TILE) for side in planes.shape[:2]] + [(0, 0)] * (planes.ndim - 2)
    padded = np.pad(planes, room, constant_values=padding)
    rows, columns = (range(0, side, TILE) for side in padded.shape[:2])
    return [padded[top : top + TILE, left : left + TILE] for top in rows for left in columns]
