"""Anomaly data sets in the layouts of other programs: anomalib's VisA, MVTec AD's folders, AnoVL's ``meta.json``."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from denseclip.datasets.anomaly_layouts import SPLITS, Entry, list_magnetic_tile, list_visa
from denseclip.datasets.anomaly_masks import read_mask
from denseclip.datasets.anomaly_sets import AnomalyDataset, MVTecADDataset, VisADataset
from denseclip.datasets.converters.layout import ConversionError, complete_or_absent, place, raise_if_any
from denseclip.datasets.files import UnreadableFileError, picture_size
from denseclip.files.atomic import write_text

MAGNETIC_TILE_THRESHOLD = 127
"""Grey value above which a pixel of a magnetic-tile mask is defective."""


def convert_visa(
    source: str | Path,
    target: str | Path,
    *,
    split_file: str = 'split_csv/1cls.csv',
    link: bool = False,
    force: bool = False,
) -> dict[str, int]:
    """Rewrite VisA as published into the layout that anomalib and VisA's own script make (``visa_pytorch``).

    Args:
        source: Folder with ``split_csv`` and the categories.
        target: Folder to make.
        split_file: Table of the splits, relative to ``source``.
        link: Make symbolic links of pictures instead of copies; masks are always written anew, as 0 and 255.
        force: Replace ``target`` when it exists.

    Returns:
        Number of pictures in each split.

    Raises:
        ConversionError: If files are missing, unreadable or of differing sizes; or if ``target`` exists and
            ``force`` is not set.
    """
    source = Path(source)
    try:
        splits = {split: list_visa(source, split, None, split_file) for split in SPLITS}
    except (FileNotFoundError, ValueError) as error:
        raise ConversionError(str(error)) from error
    with complete_or_absent(Path(target), sources=[source], force=force) as staging:
        for split, entries in splits.items():
            _write(entries, staging, source, split, 0, {True: 'bad', False: 'good'}, link)
    return {split: len(entries) for split, entries in splits.items()}


def convert_magnetic_tile(
    source: str | Path, target: str | Path, *, link: bool = False, force: bool = False
) -> dict[str, int]:
    """Rewrite the Magnetic-tile defect set into the layout of MVTec AD, so that tools for that one read it.

    Args:
        source: Folder of ``MT_Free``, ``MT_Crack`` and so on.
        target: Folder to make; gets the one category ``magnetic_tile``.
        link: Make symbolic links of pictures instead of copies; masks are always written anew, as 0 and 255.
        force: Replace ``target`` when it exists.

    Returns:
        Number of pictures of each kind of defect, ``good`` for none.

    Raises:
        ConversionError: As for :func:`convert_visa`.
    """
    source = Path(source)
    try:
        entries = list_magnetic_tile(source, 'magnetic_tile')
    except FileNotFoundError as error:
        raise ConversionError(str(error)) from error
    with complete_or_absent(Path(target), sources=[source], force=force) as staging:
        _write(entries, staging, source, 'test', MAGNETIC_TILE_THRESHOLD, {}, link)
    kinds = sorted({entry.defect for entry in entries})
    return {kind: sum(entry.defect == kind for entry in entries) for kind in kinds}


def _write(
    entries: Sequence[Entry],
    staging: Path,
    source: Path,
    split: str,
    threshold: int,
    names: dict[bool, str],
    link: bool,
) -> None:
    """Write pictures and masks of a split as MVTec AD has them, after a look at every one of them."""
    raise_if_any([problem for entry in entries if (problem := _problem(entry, threshold))], source)
    for entry in entries:
        folder = names.get(entry.anomalous, entry.defect)
        base = staging / entry.category
        place(entry.image, base / split / folder / entry.image.name, link=link)
        if entry.mask is not None:
            mask = base / 'ground_truth' / folder / f'{entry.image.stem}.png'
            mask.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(read_mask(entry.mask, threshold) * np.uint8(255)).save(mask)


def _problem(entry: Entry, threshold: int) -> str | None:
    try:
        size = picture_size(entry.image)
        if entry.mask is None:
            return None
        mask = read_mask(entry.mask, threshold)
    except UnreadableFileError as error:
        return str(error)
    return size.fault(
        mask.shape, f'{entry.mask}: size {mask.shape} differs from its picture {size.upright} (height, width)'
    )


def anomaly_meta(datasets: Sequence[AnomalyDataset]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The ``meta.json`` that AnoVL, APRIL-GAN and their relatives read.

    Args:
        datasets: The splits of one data set.

    Returns:
        Split to category to samples; paths are relative to the data set's folder, in this suite's order (theirs is the
        file system's).
    """
    meta: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for dataset in datasets:
        categories = meta.setdefault(dataset.split, {})
        for entry in dataset.entries():
            sample = dict(
                img_path=entry.image.relative_to(dataset.root).as_posix(),
                mask_path=entry.mask.relative_to(dataset.root).as_posix() if entry.mask else '',
                cls_name=entry.category,
                specie_name=entry.defect,
                anomaly=int(entry.anomalous),
            )
            categories.setdefault(entry.category, []).append(sample)
    return meta


def write_anomaly_meta(
    datasets: Sequence[AnomalyDataset], target: str | Path, *, force: bool = False
) -> dict[str, int]:
    """Write :func:`anomaly_meta` as JSON.

    Args:
        datasets: The splits of one data set.
        target: File to write, usually ``meta.json`` in the data set's folder.
        force: Replace ``target`` when it exists.

    Returns:
        Number of pictures in each split.

    Raises:
        ConversionError: If ``target`` exists and ``force`` is not set or it is no such table, or the data set's folders
            are incomplete.
    """
    target = Path(target)
    if os.path.lexists(target):
        if not force:
            raise ConversionError(f'{target} exists already; pass --force to replace it')
        if not _is_meta(target):
            raise ConversionError(f'{target} is no such table: nothing was replaced. Choose another target')
    try:
        meta = anomaly_meta(datasets)
    except (FileNotFoundError, ValueError) as error:
        raise ConversionError(str(error)) from error
    write_text(target, json.dumps(meta, indent=4) + '\n')
    return {split: sum(map(len, categories.values())) for split, categories in meta.items()}


def write_mvtec_meta(source: str | Path, target: str | Path | None = None, *, force: bool = False) -> dict[str, int]:
    """:func:`write_anomaly_meta` for the folder of MVTec AD; by default ``meta.json`` in it."""
    return _write_meta(MVTecADDataset, source, target, force)


def write_visa_meta(source: str | Path, target: str | Path | None = None, *, force: bool = False) -> dict[str, int]:
    """:func:`write_anomaly_meta` for the folder of VisA; by default ``meta.json`` in it."""
    return _write_meta(VisADataset, source, target, force)


def _write_meta(
    kind: type[AnomalyDataset], source: str | Path, target: str | Path | None, force: bool
) -> dict[str, int]:
    splits = [kind(str(source), split=split, lazy_init=True) for split in SPLITS]
    return write_anomaly_meta(splits, target or Path(source) / 'meta.json', force=force)


def _is_meta(path: Path) -> bool:
    """Whether a file is a table of :func:`anomaly_meta` and nothing else."""
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        samples = [sample for split in SPLITS for rows in content.pop(split, {}).values() for sample in rows]
        return not content and all('img_path' in sample and 'anomaly' in sample for sample in samples)
    except (OSError, ValueError, AttributeError, TypeError):
        return False
