"""Panoptic files of ADE20K and Cityscapes, from what the sets themselves hold; COCO's come ready-made."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from denseclip.clip.things import things_of
from denseclip.clip.vocabulary import Vocabulary
from denseclip.datasets.converters.cityscapes import SCORED
from denseclip.datasets.converters.layout import ConversionError, complete_or_absent, raise_if_any
from denseclip.datasets.converters.relabel import matched_names
from denseclip.datasets.files import UnreadableFileError, image_size, read_label_map
from denseclip.files.atomic import write_text
from denseclip.files.pixels import open_safely
from denseclip.structures.panoptic import ids_to_rgb

_ADE_FOLDERS = {'train': 'training', 'val': 'validation'}
_CITY_IMAGE, _CITY_LABEL = '_leftImg8bit.png', '_gtFine_instanceIds.png'


@dataclass(frozen=True)
class _Job:
    """A picture to write: its file and id, the name of its PNG, and what makes segment ids and categories.

    ``segments`` gives the ids (H, W) and, of each segment, ``id``, ``category_id`` and ``iscrowd``.
    """

    image: Path
    image_id: int | str
    png: str
    segments: Callable[[], tuple[np.ndarray, list[dict[str, Any]]]]


def convert_ade20k_panoptic(
    root: str | Path, *, splits: Sequence[str] = ('val',), force: bool = False, num_workers: int = 2
) -> dict[str, int]:
    """Make ``ade20k_panoptic_SPLIT/`` and ``ade20k_panoptic_SPLIT.json`` in ADEChallengeData2016.

    Stuff comes from the label maps of ``annotations``, one segment per class; things come from
    ``annotations_instance`` (``annotations_instance.tar`` of the instance challenge: red = class, green = instance).
    What is a thing in the label map but in no instance is void, as in Mask2Former's data.

    Args:
        root: ``ADEChallengeData2016`` with ``images``, ``annotations`` and ``annotations_instance``.
        splits: ``train`` and ``val``.
        force: Replace earlier results.
        num_workers: Threads that decode files.

    Returns:
        Number of pictures in each split.

    Raises:
        ConversionError: If files are missing, do not fit together or hold unknown ids; nothing is written then.
    """
    root = Path(root)
    names, things = Vocabulary.named('ade20k').names, things_of('ade20k')
    thing_ids = [names.index(name) for name in things]
    categories = _categories(dict(enumerate(names)), set(thing_ids))
    counts = {}
    for split in splits:
        images, labels = root / 'images' / _ADE_FOLDERS[split], root / 'annotations' / _ADE_FOLDERS[split]
        instances = root / 'annotations_instance' / _ADE_FOLDERS[split]
        stems = sorted(path.stem for path in images.glob('*.jpg'))
        _need_files([folder / f'{s}.png' for folder in (labels, instances) for s in stems] or [images], root)
        jobs = [
            _Job(
                images / f'{stem}.jpg',
                int(stem.rsplit('_', 1)[-1]),
                f'{stem}.png',
                partial(_ade_segments, labels / f'{stem}.png', instances / f'{stem}.png', thing_ids),
            )
            for stem in stems
        ]
        folder = root / f'ade20k_panoptic_{split}'
        options: dict[str, Any] = dict(
            source=root, read=[images, labels, instances], force=force, num_workers=num_workers
        )
        counts[split] = _write(jobs, categories, folder, **options)
    return counts


def convert_cityscapes_panoptic(
    root: str | Path, *, splits: Sequence[str] = ('val',), force: bool = False, num_workers: int = 2
) -> dict[str, int]:
    """Make ``gtFine/cityscapes_panoptic_SPLIT/`` and its JSON file, as ``csCreatePanopticImgs`` of cityscapesScripts.

    Ids of a thing class without an instance number (groups) are crowds. Category ids are the set's label ids.

    Args:
        root: Folder with ``leftImg8bit`` and ``gtFine`` (``*_gtFine_instanceIds.png``).
        splits: The labels of ``test`` are not published.
        force: Replace earlier results.
        num_workers: Threads that decode files.

    Returns:
        Number of pictures in each split.

    Raises:
        ConversionError: As for :func:`convert_ade20k_panoptic`.
    """
    root = Path(root)
    names, things = Vocabulary.named('cityscapes').names, set(things_of('cityscapes'))
    label_of = dict(zip(SCORED, names, strict=True))
    thing_ids = {k for k, name in label_of.items() if name in things}
    categories = _categories(label_of, thing_ids)
    counts = {}
    for split in splits:
        images, labels = root / 'leftImg8bit' / split, root / 'gtFine' / split
        found = matched_names(
            images, labels, image_suffix=_CITY_IMAGE, label_suffix=_CITY_LABEL, source=root, recursive=True
        )
        jobs = [
            _Job(
                images / f'{name}{_CITY_IMAGE}',
                Path(name).name,
                f'{Path(name).name}_gtFine_panoptic.png',
                partial(_cityscapes_segments, labels / f'{name}{_CITY_LABEL}', thing_ids),
            )
            for name in found
        ]
        folder = root / 'gtFine' / f'cityscapes_panoptic_{split}'
        options: dict[str, Any] = dict(source=root, read=[images, labels], force=force, num_workers=num_workers)
        counts[split] = _write(jobs, categories, folder, **options)
    return counts


def _ade_segments(
    label_file: Path, instance_file: Path, thing_ids: Sequence[int]
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    labels = read_label_map(label_file).astype(np.int64) - 1  # 0 = no class
    try:
        with open_safely(instance_file) as image:
            colours = np.asarray(image.convert('RGB')).astype(np.int64)
    except OSError as error:
        raise UnreadableFileError(f'{instance_file}: cannot be read ({error})') from error
    if colours.shape[:2] != labels.shape:
        raise ConversionError(f'{instance_file}: size {colours.shape[:2]} differs from that of {label_file}')
    kind, number = colours[..., 0], colours[..., 1]
    if labels.max() >= 150 or kind.max() > len(thing_ids):
        raise ConversionError(f'{label_file} or {instance_file}: holds a class that ADE20K does not have')
    # Instances: 1 + 256 * class + 65536 * number, as far as they are not the background of that file (class 0).
    things = np.where(kind > 0, 65536 * number + 256 * kind, 0)
    stuff = np.where((labels >= 0) & ~np.isin(labels, thing_ids), labels + 1, 0)
    ids = np.where(things > 0, things, stuff)
    return ids, [
        {'id': i, 'category_id': thing_ids[(i >> 8 & 255) - 1] if i >= 256 else i - 1, 'iscrowd': 0}
        for i in np.unique(ids[ids > 0]).tolist()
    ]


def _cityscapes_segments(path: Path, thing_ids: set[int]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    raw = read_label_map(path).astype(np.int64)
    found = np.unique(raw)
    category = np.where(found < 1000, found, found // 1000)
    scored = np.isin(category, SCORED)
    ids = np.where(np.isin(raw, found[scored]), raw, 0)
    return ids, [
        {'id': i, 'category_id': c, 'iscrowd': int(i < 1000 and c in thing_ids)}
        for i, c in zip(found[scored].tolist(), category[scored].tolist(), strict=True)
    ]


def _write(
    jobs: Sequence[_Job],
    categories: list[dict[str, Any]],
    folder: Path,
    *,
    source: Path,
    read: Sequence[Path],
    force: bool,
    num_workers: int,
) -> int:
    """Write the PNGs of all jobs, then the JSON file beside their folder; or nothing at all."""
    annotation_file = folder.with_name(f'{folder.name}.json')
    _check_json(annotation_file, force)
    with complete_or_absent(folder, sources=read, force=force) as staging:

        def convert(job: _Job) -> str | tuple[dict[str, Any], dict[str, Any]]:
            try:
                (height, width), (ids, segments) = image_size(job.image), job.segments()
                if ids.shape != (height, width):
                    raise ConversionError(f'{job.image}: size {(height, width)} differs from its labels {ids.shape}')
            except (UnreadableFileError, ConversionError) as error:
                return str(error)
            Image.fromarray(ids_to_rgb(ids)).save(staging / job.png)
            extents = _extents(ids)
            listed = [{**s, **extents[s['id']]} for s in segments]
            image = {'id': job.image_id, 'file_name': job.image.name, 'height': height, 'width': width}
            return image, {'image_id': job.image_id, 'file_name': job.png, 'segments_info': listed}

        with ThreadPoolExecutor(max(1, num_workers)) as pool:
            results = list(pool.map(convert, jobs))
        raise_if_any([r for r in results if isinstance(r, str)], source)
    done = [r for r in results if not isinstance(r, str)]
    content = {'images': [r[0] for r in done], 'annotations': [r[1] for r in done], 'categories': categories}
    write_text(annotation_file, json.dumps({'info': {'contributor': _US}, **content}))
    return len(jobs)


_US = 'denseclip'


def _check_json(path: Path, force: bool) -> None:
    """Refuse to overwrite annotations, unless we made them and the user allows it."""
    if not os.path.lexists(path):
        return
    if not force:
        raise ConversionError(f'{path} exists already; pass --force to replace it')
    try:
        ours = json.loads(path.read_text(encoding='utf-8'))['info']['contributor'] == _US
    except (OSError, ValueError, LookupError, TypeError):
        ours = False
    if not ours:
        raise ConversionError(f'{path} was not made by this program: nothing was replaced. Move it away first')


def _extents(ids: np.ndarray) -> dict[int, dict[str, Any]]:
    """Area and box of each id, by one sort of the pixels."""
    found, inverse, areas = np.unique(ids.reshape(-1), return_inverse=True, return_counts=True)
    rows, columns = np.divmod(np.arange(ids.size), ids.shape[1])
    low = np.full((2, len(found)), np.iinfo(np.int64).max)
    high = np.full((2, len(found)), -1)
    for axis, place in enumerate((columns, rows)):
        np.minimum.at(low[axis], inverse, place)
        np.maximum.at(high[axis], inverse, place)
    boxes = np.concatenate([low, high - low + 1]).T
    return {int(i): {'area': int(area), 'bbox': box.tolist()} for i, area, box in zip(found, areas, boxes, strict=True)}


def _categories(names: Mapping[int, str], things: set[int]) -> list[dict[str, Any]]:
    return [
        {'id': k, 'name': name, 'isthing': int(k in things), 'supercategory': 'thing' if k in things else 'stuff'}
        for k, name in names.items()
    ]


def _need_files(paths: Sequence[Path], source: Path) -> None:
    raise_if_any([f'{path}: is missing' for path in paths if not path.is_file()], source)
