"""Rewrite label maps by a table of ids, many at a time, into a folder that only appears when all went well."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from denseclip.datasets.converters.layout import MAX_NAMED, ConversionError, complete_or_absent, place, raise_if_any
from denseclip.datasets.files import UnreadableFileError, picture_size, read_label_map
from denseclip.files.pixels import NoRangeError, open_safely, rgb_pixels

INVALID = -1
"""Entry of a table for an id that the source must not hold."""


@dataclass(frozen=True)
class Pair:
    """One picture and its label map, and where they go.

    Attributes:
        image: The picture.
        label: Its label map as downloaded.
        image_to: Path of the picture in the target folder.
        label_to: Path of the rewritten label map in the target folder; a png file.
    """

    image: Path
    label: Path
    image_to: str
    label_to: str


def id_table(mapping: dict[int, int], *, size: int = 256, other: int = INVALID) -> np.ndarray:
    """Table of new ids by old ones.

    Args:
        mapping: New id (0 to 65535) of each old id.
        size: Old ids are below this.
        other: Entry of all further old ids.

    Returns:
        int32 array of shape (size,).
    """
    table = np.full(size, other, dtype=np.int32)
    table[list(mapping)] = list(mapping.values())
    return table


def convert_pairs(
    pairs: Sequence[Pair],
    table: np.ndarray,
    target: Path,
    *,
    source: Path,
    link: bool = False,
    force: bool = False,
    num_workers: int = 2,
    read: Callable[[Path], np.ndarray] = read_label_map,
    lists: dict[str, Iterable[str]] | None = None,
    short_side: int | None = None,
    sources: Sequence[Path] = (),
) -> None:
    """Write all pairs, or nothing at all.

    Every picture and label map is decoded; a problem in any of them leaves ``target`` as it was.

    Args:
        pairs: What to write.
        table: See :func:`id_table`.
        target: Folder to make.
        source: Folder that files are read from, named in error messages.
        link: Make symbolic links to the pictures instead of copies. Label maps are always new files.
        force: Replace ``target`` when it exists.
        num_workers: Threads that decode files.
        read: Reads a label map of the source, (H, W) integers.
        lists: Text files to write as well: path in the target folder and its lines.
        short_side: Shrink pictures and label maps whose shorter side is longer than this; such pictures are encoded
            anew.
        sources: Further folders that files are read from.

    Raises:
        ConversionError: If a file is missing, unreadable, of another size than its picture or holds an id that the
            table calls invalid; or if ``target`` may not be written, see
            :func:`~denseclip.datasets.converters.layout.complete_or_absent`.
    """
    with complete_or_absent(target, sources=[source, *sources], force=force) as staging:

        def convert(pair: Pair) -> str | None:
            try:
                labels = _relabel(pair, table, read)
            except (UnreadableFileError, ConversionError) as error:
                return str(error)
            path = staging / pair.label_to
            path.parent.mkdir(parents=True, exist_ok=True)
            size = labels.shape if short_side is None else shrunk_size(labels.shape, short_side)
            Image.fromarray(shrink_labels(labels, size)).save(path)
            if size == labels.shape:
                place(pair.image, staging / pair.image_to, link=link)
            else:
                _save_shrunk(pair.image, staging / pair.image_to, size)
            return None

        with ThreadPoolExecutor(max(1, num_workers)) as pool:
            raise_if_any([problem for problem in pool.map(convert, pairs) if problem], source)
        for name, lines in (lists or {}).items():
            path = staging / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')


def apply_table(labels: np.ndarray, table: np.ndarray, name: str | Path = 'label map') -> np.ndarray:
    """Replace ids by a table.

    Args:
        labels: Integers (H, W).
        table: See :func:`id_table`.
        name: Of the label map, for the error message.

    Returns:
        uint8 array (H, W), or uint16 where the table holds larger ids.

    Raises:
        ConversionError: If there is an id that the table calls invalid.
    """
    inside = (labels >= 0) & (labels < len(table))
    new = table[np.where(inside, labels, 0)]
    wrong = ~inside | (new == INVALID)
    if wrong.any():
        ids = [int(i) for i in np.unique(labels[wrong])]
        raise ConversionError(f'{name}: ids {ids[:MAX_NAMED]} are none that this data set has')
    return new.astype(np.uint8 if table.max() < 256 else np.uint16)


def _relabel(pair: Pair, table: np.ndarray, read: Callable[[Path], np.ndarray]) -> np.ndarray:
    """New label map of a pair; raises with the file's name."""
    size, labels = picture_size(pair.image), read(pair.label)
    message = f'{pair.label}: size {labels.shape} differs from its picture {size.upright} (height, width)'
    fault = size.fault(labels.shape, message)
    if fault:
        raise ConversionError(fault)
    return apply_table(labels, table, pair.label)


def shrunk_size(size: tuple[int, ...], short_side: int) -> tuple[int, int]:
    """Height and width with the shorter side at most ``short_side``, the aspect ratio kept, halves to even."""
    height, width = size
    if min(height, width) <= short_side:
        return height, width
    scale = short_side / min(height, width)
    return round(height * scale), round(width * scale)


def shrink_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A label map in another size by nearest neighbour, (H, W) to ``size``."""
    return labels if labels.shape == size else cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST)


def _save_shrunk(source: Path, destination: Path, size: tuple[int, int]) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    with open_safely(source) as image:
        try:
            pixels = rgb_pixels(image)
        except NoRangeError as error:
            raise ConversionError(f'{source}: {error}') from error
    Image.fromarray(cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR)).save(destination, quality=95)


def matched_names(
    images: Path, labels: Path, *, image_suffix: str, label_suffix: str, source: Path, recursive: bool = False
) -> list[str]:
    """Names, without endings, that a folder of pictures and a folder of label maps have in common.

    Args:
        images: Folder of pictures.
        labels: Folder of label maps.
        image_suffix: Ending of the pictures.
        label_suffix: Ending of the label maps.
        source: Folder that files are read from, named in error messages.
        recursive: Look into sub-folders too; names then hold them.

    Returns:
        Sorted names.

    Raises:
        ConversionError: If a folder is missing or empty, or a file has no partner.
    """
    missing = [str(folder) for folder in (images, labels) if not folder.is_dir()]
    if missing:
        raise ConversionError(f'{source}: no folder {", ".join(missing)}')
    pictures = _names(images, image_suffix, recursive)
    maps = _names(labels, label_suffix, recursive)
    problems = [f'{images / (name + image_suffix)}: has no label map' for name in sorted(pictures - maps)]
    problems += [f'{labels / (name + label_suffix)}: has no picture' for name in sorted(maps - pictures)]
    if not pictures:
        problems.append(f'{images}: holds no file that ends in {image_suffix}')
    raise_if_any(problems, source)
    return sorted(pictures)


def _names(folder: Path, suffix: str, recursive: bool) -> set[str]:
    found = folder.glob(f'{"**/" if recursive else ""}*{suffix}')
    names = {path.relative_to(folder).as_posix()[: -len(suffix)] for path in found}
    return names if recursive else {name for name in names if '_' not in name}  # no files of an earlier conversion
