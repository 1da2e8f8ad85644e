"""Cityscapes from its own archives (``leftImg8bit_trainvaltest.zip`` and ``gtFine_trainvaltest.zip``)."""

from collections.abc import Sequence
from pathlib import Path

from denseclip.datasets.converters.relabel import Pair, convert_pairs, id_table, matched_names

SCORED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Label ids of the 19 scored classes in the order of their train ids; of ids 0 to 33 the others are ignored (255)."""
_NUM_IDS = 34
_IMAGE, _LABEL = '_leftImg8bit.png', '_gtFine_labelIds.png'


def convert_cityscapes(
    source: str | Path,
    target: str | Path,
    *,
    splits: Sequence[str] = ('train', 'val'),
    link: bool = False,
    force: bool = False,
    num_workers: int = 2,
) -> dict[str, int]:
    """Make train ids: ``gtFine/SPLIT/CITY/NAME_gtFine_labelTrainIds.png``.

    Args:
        source: Folder with ``leftImg8bit`` and ``gtFine``.
        target: Folder to make, usually ``data/cityscapes``.
        splits: The labels of ``test`` are not published.
        link: Make symbolic links to the pictures instead of copies.
        force: Replace ``target`` when it exists.
        num_workers: Threads that decode files.

    Returns:
        Number of pairs in each split.

    Raises:
        ConversionError: See :func:`denseclip.datasets.converters.relabel.convert_pairs`.
    """
    source, pairs, counts = Path(source), [], {}
    for split in splits:
        images, labels = source / 'leftImg8bit' / split, source / 'gtFine' / split
        names = matched_names(images, labels, image_suffix=_IMAGE, label_suffix=_LABEL, source=source, recursive=True)
        counts[split] = len(names)
        pairs += [
            Pair(
                images / f'{name}{_IMAGE}',
                labels / f'{name}{_LABEL}',
                f'leftImg8bit/{split}/{name}{_IMAGE}',
                f'gtFine/{split}/{name}_gtFine_labelTrainIds.png',
            )
            for name in names
        ]
    table = id_table({**dict.fromkeys(range(_NUM_IDS), 255), **{old: new for new, old in enumerate(SCORED)}})
    convert_pairs(pairs, table, Path(target), source=source, link=link, force=force, num_workers=num_workers)
    return counts
