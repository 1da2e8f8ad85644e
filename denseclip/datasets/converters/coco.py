"""COCO-Stuff 164k and COCO-Object from the pixel maps of COCO-Stuff (``stuffthingmaps_trainval2017.zip``)."""

from collections.abc import Sequence
from pathlib import Path

from denseclip.datasets.converters.relabel import Pair, convert_pairs, id_table, matched_names

MISSING = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)
"""Ids within 0 to 181 that COCO defines but never annotated."""
FIRST_STUFF = 91
UNLABELLED = 255

_PRESENT = [i for i in range(182) if i not in MISSING]
STUFF_IDS = {**{old: new for new, old in enumerate(_PRESENT)}, UNLABELLED: UNLABELLED}
"""Ids of the pixel maps to ids 0 to 170 (80 things, 91 stuff classes); unlabelled pixels stay 255, ignored."""
OBJECT_IDS = {old: (0 if old == UNLABELLED or old >= FIRST_STUFF else new + 1) for old, new in STUFF_IDS.items()}
"""Ids of the pixel maps to 1 to 80 for things; stuff and unlabelled pixels are background, 0."""


def convert_coco_stuff(
    source: str | Path,
    target: str | Path,
    *,
    splits: Sequence[str] = ('val2017',),
    link: bool = False,
    force: bool = False,
    num_workers: int = 2,
) -> dict[str, int]:
    """Bring COCO-Stuff 164k into mmseg's layout: ``annotations/SPLIT/NAME_labelTrainIds.png``.

    Args:
        source: Folder with ``images/SPLIT/*.jpg`` and, from the pixel maps' archive, ``annotations/SPLIT/*.png``.
        target: Folder to make, usually ``data/coco_stuff164k``.
        splits: ``val2017`` is what is scored; ``train2017`` has 118287 pictures.
        link: Make symbolic links to the pictures instead of copies.
        force: Replace ``target`` when it exists.
        num_workers: Threads that decode files.

    Returns:
        Number of pairs in each split.

    Raises:
        ConversionError: See :func:`denseclip.datasets.converters.relabel.convert_pairs`.
    """
    return _convert(source, target, STUFF_IDS, '_labelTrainIds.png', splits, link, force, num_workers)


def convert_coco_object(
    source: str | Path,
    target: str | Path,
    *,
    splits: Sequence[str] = ('val2017',),
    link: bool = False,
    force: bool = False,
    num_workers: int = 2,
) -> dict[str, int]:
    """Make COCO-Object: ``annotations/SPLIT/NAME_instanceTrainIds.png``.

    Arguments, result and errors are those of :func:`convert_coco_stuff`.
    """
    return _convert(source, target, OBJECT_IDS, '_instanceTrainIds.png', splits, link, force, num_workers)


def _convert(
    source: str | Path,
    target: str | Path,
    mapping: dict[int, int],
    suffix: str,
    splits: Sequence[str],
    link: bool,
    force: bool,
    num_workers: int,
) -> dict[str, int]:
    source, pairs, counts = Path(source), [], {}
    for split in splits:
        images, labels = source / 'images' / split, source / 'annotations' / split
        names = matched_names(images, labels, image_suffix='.jpg', label_suffix='.png', source=source)
        counts[split] = len(names)
        pairs += [
            Pair(
                images / f'{name}.jpg',
                labels / f'{name}.png',
                f'images/{split}/{name}.jpg',
                f'annotations/{split}/{name}{suffix}',
            )
            for name in names
        ]
    convert_pairs(
        pairs, id_table(mapping), Path(target), source=source, link=link, force=force, num_workers=num_workers
    )
    return counts
