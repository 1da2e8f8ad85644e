"""Pictures from the files of annotation tools, one by one; all that is wrong with any of them is said at once."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from denseclip.datasets.coco_objects import is_side
from denseclip.datasets.converters.layout import ConversionError, raise_if_any
from denseclip.datasets.files import UnreadableFileError, read_text
from denseclip.datasets.own_data.data import BoxData, Conversion
from denseclip.datasets.own_data.pictures import Found, FoundPicture, as_box_data, measure
from denseclip.datasets.own_data.shapes import Shape, as_objects

_NOWHERE = re.compile(r'/+|\.{1,2}|[A-Za-z]:')
"""Parts of a path that lead out of a folder: roots, dots and drives."""


@dataclass
class Gathering:
    """What has been read of a data set.

    Attributes:
        folder: The data set.
        found: Pictures by split and file; under ``all`` those that name no split.
        left_out: Kinds of shapes that have no area or no class, and how many there are.
        notes: What was decided, a line each.
        problems: What is wrong, a line each.
    """

    folder: Path
    found: dict[str, dict[Path, FoundPicture]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, split: str | None, read: Callable[[], FoundPicture]) -> None:
        """Read a picture, or note what is wrong with it.

        Args:
            split: ``train``, ``val`` or ``test``; None where nothing says which.
            read: Gives it; may raise ``ConversionError``.
        """
        try:
            picture = read()
        except ConversionError as error:
            self.problems.append(str(error))
            return
        place = picture.path.parent.resolve() / picture.path.name
        for known in self.found.values():
            if place in known:
                other = known[place].source
                where = '' if other == picture.source else f', in {other}, too'
                self.problems.append(
                    f'{picture.source}: the picture "{picture.name}" is there twice{where}; keep one of them'
                )
        self.found.setdefault(split or 'all', {})[place] = picture

    def box_data(self, conversion: Conversion, labels: Sequence[str] = ()) -> BoxData:
        """The data set, made COCO's in ``conversion.target``.

        Args:
            conversion: How files are made.
            labels: Names of classes in their order; others follow as they were met.

        Raises:
            ConversionError: Something was wrong, or there is nothing to train on.
        """
        raise_if_any(self.problems, self.folder)
        found = {split: list(part.values()) for split, part in self.found.items()}
        names = [entry.name for part in found.values() for picture in part for entry in picture.objects]
        listed = ', '.join(f'{kind} ({count})' for kind, count in self.left_out.items())
        notes = [f'left out, as they have no area or are no class: {listed}'] if listed else []
        classes = list(dict.fromkeys([*labels, *names]))
        return as_box_data(Found(classes, found, [*self.notes, *notes]), conversion)


def found_picture(
    place: tuple[Path, str],
    source: Path,
    said: tuple[int, int] | None,
    shapes: Sequence[Shape],
    name: str = '',
    *,
    whole: bool = False,
) -> FoundPicture:
    """A picture with its objects.

    Args:
        place: The file and the name to give it, see :func:`locate`.
        source: File of its annotations.
        said: Height and width that they say.
        shapes: What is drawn in it.
        name: What messages call it; by default the name to give it.
        whole: Whether masks in pixels are of the whole picture.

    Raises:
        ConversionError: The picture cannot be read, or shapes cannot be joined.
    """
    path, given = place
    size = measure(path, said, source)
    strange = [part.pixels[2].shape for part in shapes if whole and part.pixels and part.pixels[2].shape != size]
    if strange:
        raise ConversionError(
            f'{source}: {name or given}: a mask is of {strange[0]} pixels (h, w), the picture of {size}'
        )
    try:
        objects = as_objects(shapes, size)
    except ValueError as error:
        raise ConversionError(f'{source}: {name or given}: {error}') from error
    return FoundPicture(path, given, source, size, said, objects)


def locate(source: Path, given: str, places: Sequence[Path]) -> tuple[Path, str]:
    """A picture that an annotation file names, wherever its folder has gone.

    Args:
        source: The annotation file.
        given: Path of the picture as it stands there, of any system; roots and parts that lead upwards do not count.
        places: Folders to look into.

    Returns:
        The file, and its path from the folder where it was found.

    Raises:
        ConversionError: It is in none of them.
    """
    parts = [part for part in PurePosixPath(given.replace('\\', '/')).parts if not _NOWHERE.fullmatch(part)]
    for start in range(len(parts)):
        tail = '/'.join(parts[start:])
        for folder in places:
            path = folder / tail
            if _is_file(path):
                return path, tail
    raise ConversionError(f'{source}: its picture "{given}" is not below {places[-1] if places else source.parent}')


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no system would have
        return False


def said_size(height: Any, width: Any) -> tuple[int, int] | None:
    """Height and width that a file says; None where it says no whole numbers."""
    known = all(isinstance(side, int) and is_side(side) for side in (height, width))
    return (height, width) if known else None


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ConversionError: It is none.
    """
    try:
        return json.loads(read_text(path))
    except UnreadableFileError as error:
        raise ConversionError(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise ConversionError(f'{path}: is no readable JSON ({error})') from error


def beginning(path: Path, length: int = 2**16) -> str:
    """The first characters of a file; empty if it cannot be read."""
    try:
        with path.open('rb') as file:
            return file.read(length).decode('utf-8-sig', 'ignore')
    except OSError:
        return ''
