"""Look through an anomaly data set before measuring on it: files, pairs, sizes, masks, and pictures in both splits."""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from denseclip.datasets.anomaly_masks import read_mask_values, threshold_of
from denseclip.datasets.anomaly_pairs import strays
from denseclip.datasets.anomaly_sets import AnomalyDataset
from denseclip.datasets.audit_report import Problem, render_problems
from denseclip.datasets.files import PictureSize, UnreadableFileError, picture_size
from denseclip.files.names import shown


@dataclass
class CategoryCount:
    """What a category holds.

    Attributes:
        normal: Pictures without a defect.
        anomalous: Pictures with one.
        without_mask: Anomalous pictures that name no mask.
        defective: Sum over the masks of the share of defective pixels, each 0..1.
        masks: Masks that could be read.
        defects: Pictures of each kind of defect.
        sizes: Pictures of each (height, width).
    """

    normal: int = 0
    anomalous: int = 0
    without_mask: int = 0
    defective: float = 0.0
    masks: int = 0
    defects: Counter[str] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)


@dataclass
class AnomalyAuditReport:
    """Findings of :func:`audit_anomalies`.

    Attributes:
        categories: By name.
        problems: All problems, in the order of the files.
    """

    categories: dict[str, CategoryCount] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether measuring can start: there are samples and nothing is wrong with them."""
        return bool(self.categories) and not self.problems

    def suggestions(self) -> list[str]:
        """What cannot be measured on this data set, one line each."""
        found = []
        for name, count in self.categories.items():
            if not count.normal:
                found.append(f'{name}: no normal picture, so no image AUROC')
            if not count.anomalous:
                found.append(f'{name}: no anomalous picture, so nothing but the scores themselves')
            if count.without_mask:
                found.append(f'{name}: {count.without_mask} anomalous pictures without a mask, so no pixel measures')
        return found

    def render(self, *, max_problems: int = 20) -> str:
        """The report as text: table of categories, problems (at most ``max_problems`` lines of each kind), advice."""
        room = max(map(len, ('category', *map(shown, self.categories))))
        lines = [
            f'{"category":<{room}}  {"normal":>7}  {"anomalous":>9}  {"masks":>6}  {"defective":>9}  sizes (h x w)'
        ]
        for name, count in self.categories.items():
            share = f'{100 * count.defective / count.masks:.2f} %' if count.masks else '–'
            sizes = ', '.join(f'{h} x {w} ({n})' for (h, w), n in count.sizes.most_common(2))
            more = f' and {len(count.sizes) - 2} more' if len(count.sizes) > 2 else ''
            numbers = f'{count.normal:>7}  {count.anomalous:>9}  {count.masks:>6}  {share:>9}'
            lines.append(f'{shown(name):<{room}}  {numbers}  {sizes}{more}')
            kinds = ', '.join(f'{shown(kind)} {n}' for kind, n in sorted(count.defects.items()) if kind)
            lines += [f'{"":<{room}}    {kinds}'] if kinds else []
        lines += render_problems(self.problems, max_problems)
        lines += ['', *(f'HINT {shown(line)}' for line in self.suggestions())] if self.suggestions() else []
        verdict = (
            'OK' if self.ok else f'{len(self.problems)} problem(s): results on this data set would fail or mislead'
        )
        return '\n'.join([*lines, '', verdict])


@dataclass(frozen=True)
class _Sample:
    problems: tuple[Problem, ...]
    size: PictureSize | None = None
    defective: float | None = None
    digest: str = ''


def audit_anomalies(
    dataset: AnomalyDataset, *, num_workers: int = 2, progress: Callable[[], None] | None = None
) -> AnomalyAuditReport:
    """Read every picture and mask of an anomaly data set, and look for its pictures in the training split.

    Args:
        dataset: The data set; its pipeline is not run.
        num_workers: Threads that decode files.
        progress: Called after each sample.

    Returns:
        The report; reading problems are part of it and never raised.
    """
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    report = AnomalyAuditReport()
    seen: dict[str, str] = _training_digests(dataset)
    with ThreadPoolExecutor(max(1, num_workers)) as pool:
        for info, sample in zip(infos, pool.map(_read_sample, infos), strict=True):
            _add(report, info, sample, seen)
            if progress:
                progress()
    report.problems += _unused_masks(dataset, infos)
    return report


def _training_digests(dataset: AnomalyDataset) -> dict[str, str]:
    """Contents of the training pictures, when the data set is a test split that has some beside it."""
    if dataset.split != 'test':
        return {}
    train = copy.copy(dataset)
    train.split = 'train'
    try:
        entries = train.entries()
    except FileNotFoundError:
        return {}
    return {_digest(entry.image): str(entry.image) for entry in entries if entry.image.is_file()}


def _digest(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _read_sample(info: dict[str, Any]) -> _Sample:
    problems: list[Problem] = []
    size, digest, defective = None, '', None
    try:
        size = picture_size(info['img_path'])
        digest = _digest(info['img_path'])
    except UnreadableFileError as error:
        problems.append(Problem('unreadable', str(error)))
    mask = info['mask_path']
    if mask and not Path(mask).exists():
        problems.append(Problem('unpaired', f'{info["img_path"]}: has no mask {mask}'))
    elif mask:
        try:
            values = read_mask_values(mask)
        except UnreadableFileError as error:
            return _Sample((*problems, Problem('unreadable', str(error))), size, None, digest)
        threshold = info['mask_threshold']
        marked = values > (threshold_of(values) if threshold is None else threshold)
        defective = float(marked.mean())
        problems += _mask_problems(mask, marked, size)
    return _Sample(tuple(problems), size, defective, digest)


def _mask_problems(mask: str, marked: np.ndarray, size: PictureSize | None) -> list[Problem]:
    problems = []
    message = f'{mask}: size {marked.shape} differs from its picture {size.upright if size else ()} (h, w)'
    fault = size.fault(marked.shape, message) if size else None
    problems += [Problem('size', fault)] if fault else []
    if not marked.any():
        problems.append(Problem('empty', f'{mask}: marks nothing, though its picture counts as anomalous'))
    elif marked.all():
        problems.append(Problem('empty', f'{mask}: marks everything; is it inverted?'))
    return problems


def _add(report: AnomalyAuditReport, info: dict[str, Any], sample: _Sample, seen: dict[str, str]) -> None:
    count = report.categories.setdefault(info['category'], CategoryCount())
    report.problems += sample.problems
    if info['gt_label']:
        count.anomalous += 1
        count.defects[info['defect_type']] += 1
        count.without_mask += not info['mask_path']
    else:
        count.normal += 1
    if sample.size is not None:
        count.sizes[sample.size.upright] += 1
    if sample.defective is not None:
        count.masks += 1
        count.defective += sample.defective
    if sample.digest:
        earlier = seen.setdefault(sample.digest, info['img_path'])
        if earlier != info['img_path']:
            report.problems.append(Problem('repeated', f'{info["img_path"]}: the same file as {earlier}'))


def _unused_masks(dataset: AnomalyDataset, infos: Sequence[dict[str, Any]]) -> list[Problem]:
    """Masks that belong to no picture: in the data set's folders of masks, and beside those that are used."""
    used = [(Path(info['mask_path']), Path(info['img_path'])) for info in infos if info['mask_path']]
    places = dataset.mask_places()
    known = [folder for folder, _ in places]
    besides = {mask.parent: image.parent for mask, image in used if not any(map(mask.is_relative_to, known))}
    pictures = [Path(info['img_path']) for info in infos]
    lines = strays([*places, *besides.items()], pictures, [mask for mask, _ in used])
    return [Problem('unpaired', line) for line in lines]
