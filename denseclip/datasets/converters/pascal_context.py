"""PASCAL Context, 59 or all 459 classes, from VOC2010 and the matrices of the set's page (``trainval.tar.gz``)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from denseclip.datasets.converters.layout import ConversionError, raise_if_any
from denseclip.datasets.converters.relabel import Pair, convert_pairs, id_table
from denseclip.datasets.files import UnreadableFileError

KEPT = (
    *(2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158, 159),
    *(162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360, 366, 368),
    *(397, 415, 416, 420, 424, 427, 440, 445, 454, 458),
)
"""Ids, among the 459 of the matrices (``labels.txt``, alphabetical), of the 59 classes, in their order."""
NUM_IDS = 460
SPLITS = ('train', 'val')
IGNORED_459 = 65535
"""Id of pixels without a class in the maps of all 459 classes, whose ids do not fit 8 bits."""


def convert_pascal_context(
    source: str | Path,
    matrices: str | Path,
    target: str | Path,
    *,
    link: bool = False,
    force: bool = False,
    num_workers: int = 2,
) -> dict[str, int]:
    """Make mmseg's layout: ``SegmentationClassContext`` (0 = none of the 59 classes) and its list files.

    The split is VOC2010's own, ``ImageSets/Main/train.txt`` and ``val.txt`` (4998 and 5105 pictures).

    Args:
        source: The devkit's folder ``VOC2010``, with ``JPEGImages`` and ``ImageSets/Main``.
        matrices: Folder with a file ``NAME.mat`` for each picture, holding the matrix ``LabelMap``.
        target: Folder to make, usually ``data/VOCdevkit/VOC2010`` (so the devkit must be unpacked elsewhere).
        link: Make symbolic links to the pictures instead of copies.
        force: Replace ``target`` when it exists.
        num_workers: Threads that decode files.

    Returns:
        Number of pairs in each split.

    Raises:
        ConversionError: See :func:`denseclip.datasets.converters.relabel.convert_pairs`.
    """
    table = id_table({old: new for new, old in enumerate(KEPT, start=1)}, size=NUM_IDS, other=0)
    options = dict(link=link, force=force, num_workers=num_workers)
    return _convert(Path(source), Path(matrices), Path(target), table, 'SegmentationClassContext', options)


def convert_pascal_context459(
    source: str | Path,
    matrices: str | Path,
    target: str | Path,
    *,
    link: bool = False,
    force: bool = False,
    num_workers: int = 2,
) -> dict[str, int]:
    """Make 16-bit label maps of all classes: ``SegmentationClassContext459``, ids 0 to 458, 65535 = no class.

    Arguments, result and errors are those of :func:`convert_pascal_context`; the usual ``target`` is
    ``data/VOCdevkit/VOC2010_459``.
    """
    options = dict(link=link, force=force, num_workers=num_workers)
    return _convert(Path(source), Path(matrices), Path(target), TABLE_459, 'SegmentationClassContext459', options)


TABLE_459 = id_table({0: IGNORED_459, **{i: i - 1 for i in range(1, NUM_IDS)}}, size=NUM_IDS)
"""Ids of the matrices to ids of the list ``context459``."""


def _convert(
    source: Path, matrices: Path, target: Path, table: np.ndarray, folder: str, options: dict[str, Any]
) -> dict[str, int]:
    names = {split: _listed(source, matrices, split) for split in SPLITS}
    pairs = [
        Pair(
            source / 'JPEGImages' / f'{name}.jpg',
            matrices / f'{name}.mat',
            f'JPEGImages/{name}.jpg',
            f'{folder}/{name}.png',
        )
        for split in SPLITS
        for name in names[split]
    ]
    lists: dict[str, Iterable[str]] = {f'ImageSets/SegmentationContext/{split}.txt': names[split] for split in SPLITS}
    convert_pairs(pairs, table, target, source=source, sources=[matrices], read=read_matrix, lists=lists, **options)
    return {split: len(names[split]) for split in SPLITS}


def read_matrix(path: Path) -> np.ndarray:
    """Read the label matrix of one picture.

    Args:
        path: A MATLAB file with the matrix ``LabelMap``.

    Returns:
        Integers of shape (H, W).

    Raises:
        UnreadableFileError: If there is no such file or no such matrix in it.
    """
    try:
        labels = loadmat(path)['LabelMap']
    except FileNotFoundError:
        raise UnreadableFileError(f'{path}: no such file') from None
    except KeyError:
        raise UnreadableFileError(f'{path}: holds no matrix LabelMap') from None
    except Exception as error:  # scipy raises many kinds for damaged files
        raise UnreadableFileError(f'{path}: cannot be read ({error})') from error
    return np.asarray(labels).astype(np.int64)


def _listed(source: Path, matrices: Path, split: str) -> list[str]:
    """Names of a split; every one must have its picture and its matrix."""
    listing = source / 'ImageSets' / 'Main' / f'{split}.txt'
    if not listing.is_file():
        raise ConversionError(f'{source}: no file ImageSets/Main/{split}.txt; is it the folder VOC2010 of the devkit?')
    names = [line.split()[0] for line in listing.read_text(encoding='utf-8').splitlines() if line.strip()]
    files = [path for name in names for path in (source / 'JPEGImages' / f'{name}.jpg', matrices / f'{name}.mat')]
    raise_if_any([f'{path}: no such file' for path in files if not path.is_file()], source)
    return names
