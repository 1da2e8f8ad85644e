"""Look through a data set before training on it: pairs, sizes, label ids, share of each class.

The files are listed by the data set itself and the ids are mapped as the loader maps them (``reduce_zero_label``,
the class list), so what is reported is what a training run would meet.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from mmseg.datasets import BaseSegDataset

from denseclip.datasets.anomaly_audit import AnomalyAuditReport, audit_anomalies
from denseclip.datasets.anomaly_sets import AnomalyDataset
from denseclip.datasets.audit_report import AuditReport, Problem
from denseclip.datasets.box_audit import BoxAuditReport, audit_boxes
from denseclip.datasets.config_parts import has_boxes
from denseclip.datasets.files import PictureSize, UnreadableFileError, picture_size, read_label_map, turns_pictures
from denseclip.datasets.label_map_dataset import LabelMapDataset, ListingError, loader_id
from denseclip.datasets.panoptic import PanopticSegmentsDataset
from denseclip.datasets.panoptic_audit import PanopticAuditReport, audit_panoptic
from denseclip.datasets.sources import dataset_class, how_to_get, missing_path, plain_datasets
from denseclip.files.pictures import globbed
from denseclip.files.progress import Progress, after_each

Report = AuditReport | AnomalyAuditReport | BoxAuditReport | PanopticAuditReport
"""What an audit finds, by the kind of data set."""


@dataclass(frozen=True)
class _Sample:
    """What was found in one sample."""

    problems: tuple[Problem, ...]
    size: PictureSize | None = None
    ids: np.ndarray | None = None
    pixels: np.ndarray | None = None


def audit_dataset(
    dataset: BaseSegDataset,
    *,
    num_workers: int = 2,
    progress: Callable[[], None] | None = None,
    upright: bool = True,
) -> AuditReport:
    """Read every file of a data set.

    Args:
        dataset: The data set; its pipeline is not run.
        num_workers: Threads that decode files.
        progress: Called after each sample.
        upright: Whether training turns pictures by their EXIF orientation.

    Returns:
        The report; reading problems are part of it and never raised.
    """
    classes = tuple(dataset.metainfo['classes'])
    report = AuditReport(classes, bool(dataset.reduce_zero_label))
    report.class_pixels = np.zeros(len(classes), dtype=np.int64)
    report.class_files = np.zeros(len(classes), dtype=np.int64)
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    report.num_samples = len(infos)
    if not infos:
        where = dataset.data_prefix.get('img_path')
        report.problems.append(Problem('missing', f'{where}: no file ends in {dataset.img_suffix!r}'))
    report.problems += _unpaired_labels(dataset, infos)
    with ThreadPoolExecutor(max(1, num_workers)) as pool:
        for info, sample in zip(infos, pool.map(partial(_read_sample, upright=upright), infos), strict=True):
            _add(report, dataset, info, sample, upright=upright)
            if progress:
                progress()
    report.problems += _only_255(report)
    return report


def audit_split(
    config: Config, split: str, *, num_workers: int = 2, progress: Progress | None = None
) -> Iterator[tuple[str, Report]]:
    """Audit the data set of a config's train, val or test loader.

    Args:
        config: A complete config.
        split: ``'train'``, ``'val'`` or ``'test'``.
        num_workers: Threads that decode files.
        progress: Called after each sample with the number of those done, and of all if it is known.

    Yields:
        A name and the report: one for a plain data set, one for each part of a wrapped or concatenated one. A data
        set that cannot even be listed gives a report with that one problem.

    Raises:
        KeyError: If the config has no such loader.
    """
    if not config.get(f'{split}_dataloader'):
        raise KeyError(f'the config has no {split}_dataloader')
    init_default_scope(config.get('default_scope') or 'mmseg')
    parts = list(plain_datasets(config[f'{split}_dataloader'].dataset))
    for number, part in enumerate(parts, start=1):
        name = split if len(parts) == 1 else f'{split}, part {number} of {len(parts)}'
        try:
            # an empty list of samples cannot be serialized, yet should be reported
            lazy = {'lazy_init': True} if has_boxes(part) or _is_panoptic(part) else {}
            dataset = DATASETS.build({**part, 'pipeline': [], 'serialize_data': False, **lazy})
        except (FileNotFoundError, NotADirectoryError, AssertionError, ListingError) as error:
            report = AuditReport(classes=())
            source = how_to_get(part) if missing_path(part) is not None else ''
            cure = f'. {source}' if source else ''
            report.problems.append(Problem('missing', f'{part["type"]} in {part.get("data_root")!r}: {error}{cure}'))
            yield name, report
            continue
        yield name, _look(dataset, part, num_workers, progress)


def _is_panoptic(part: dict[str, Any]) -> bool:
    kind = dataset_class(part)
    return kind is not None and issubclass(kind, PanopticSegmentsDataset)


def _look(dataset: Any, part: Mapping[str, Any], num_workers: int, progress: Progress | None) -> Report:
    """Audit one data set in the way of its kind."""
    upright = turns_pictures(part.get('pipeline', []))
    if isinstance(dataset, CocoDataset):
        masks = any(step.get('with_mask') for step in part.get('pipeline', []))
        shown = after_each(progress, None)  # how many is known once it is read
        return audit_boxes(dataset, num_workers=num_workers, masks=masks, progress=shown, upright=upright)
    if isinstance(dataset, PanopticSegmentsDataset):
        shown = after_each(progress, None)
        return audit_panoptic(dataset, num_workers=num_workers, progress=shown, upright=upright)
    shown = after_each(progress, len(dataset))
    if isinstance(dataset, AnomalyDataset):
        return audit_anomalies(dataset, num_workers=num_workers, progress=shown)
    return audit_dataset(dataset, num_workers=num_workers, progress=shown, upright=upright)


def _read_sample(info: dict[str, Any], *, upright: bool) -> _Sample:
    """Decode one picture and its label map and count the label map's ids."""
    problems = []
    size = labels = None
    try:
        size = picture_size(info['img_path'])
    except UnreadableFileError as error:
        problems.append(Problem('unreadable', str(error)))
    if 'seg_map_path' not in info:
        return _Sample(tuple(problems), size)
    if not Path(info['seg_map_path']).exists():
        problems.append(Problem('unpaired', f'{info["img_path"]}: has no label map {info["seg_map_path"]}'))
        return _Sample(tuple(problems), size)
    try:
        labels = read_label_map(info['seg_map_path'])
    except UnreadableFileError as error:
        problems.append(Problem('unreadable', str(error)))
        return _Sample(tuple(problems), size)
    if size is not None:
        shape = size.read(upright=upright)
        message = f'{info["seg_map_path"]}: size {labels.shape} differs from its picture {shape} (h, w)'
        fault = size.fault(labels.shape, message, upright=upright, in_config=True)
        problems += [Problem('size', fault)] if fault else []
    ids, pixels = np.unique(labels, return_counts=True) if labels.dtype != np.uint8 else _unique_bytes(labels)
    return _Sample(tuple(problems), size, ids, pixels)


def _unique_bytes(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``np.unique`` with counts for bytes; counting bins is ten times faster than sorting pixels."""
    counts = np.bincount(labels.ravel(), minlength=256)
    ids = np.flatnonzero(counts)
    return ids, counts[ids]


def _add(report: AuditReport, dataset: BaseSegDataset, info: dict[str, Any], sample: _Sample, *, upright: bool) -> None:
    """Add one sample's findings to the report, with its ids mapped as the loader maps them."""
    report.problems += sample.problems
    if sample.size is not None:
        report.sizes[sample.size.read(upright=upright)] += 1
        report.turns.add(info['img_path'], sample.size)
    if sample.ids is None or sample.pixels is None:
        return
    wrong: list[int] = []
    for file_id, pixels in zip(sample.ids.tolist(), sample.pixels.tolist(), strict=True):
        report.file_ids[file_id] += pixels
        mapped = loader_id(file_id, dataset.reduce_zero_label, dataset.label_map)
        if mapped == dataset.ignore_index:
            report.ignored_pixels += pixels
        elif 0 <= mapped < len(report.classes):
            report.class_pixels[mapped] += pixels
            report.class_files[mapped] += 1
        else:
            wrong.append(file_id)
            report.wrong_pixels[file_id] += pixels
    if wrong:
        shown = ', '.join(map(str, wrong[:10])) + (' ...' if len(wrong) > 10 else '')
        report.problems.append(Problem('ids', f'{info["seg_map_path"]}: label ids out of range: {shown}'))


def _unpaired_labels(dataset: BaseSegDataset, infos: Iterable[dict[str, Any]]) -> list[Problem]:
    """Label maps that no picture belongs to. Not asked of a data set that lists its files in a text file."""
    if isinstance(dataset, LabelMapDataset):
        listed = dataset.listed_problems
        unpaired = [problem for problem in listed if not problem.path or Path(problem.path).exists()]
        if dataset.ann_file:
            return unpaired
    folder = dataset.data_prefix.get('seg_map_path')
    if dataset.ann_file or not folder or not Path(folder).is_dir():
        return []
    used = {Path(info['seg_map_path']).resolve() for info in infos}
    found = globbed(Path(folder), f'**/*{dataset.seg_map_suffix}')
    return [Problem('unpaired', f'{path}: has no picture') for path in found if path.resolve() not in used]


def _only_255(report: AuditReport) -> list[Problem]:
    """Masks of 0 and 255: to painting programs 255 is white, to training it is "no class"."""
    if set(report.file_ids) != {0, 255} or not report.ignored_pixels:
        return []
    return [
        Problem(
            'ids',
            'the label maps hold only 0 and 255, and 255 is ignored: one class, and nothing to tell it from. If 255 is '
            'a class, run denseclip new-dataset with --ids 0 255 and a name for each (in a config: '
            'type="LabelMapDataset", class_ids=[0, 255])',
        )
    ]
