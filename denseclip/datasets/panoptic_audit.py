"""Look through a panoptic data set before training on it: files, sizes, segments in the JSON file against the PNGs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from denseclip.datasets.audit_report import Problem, TurnedPictures, render_problems
from denseclip.datasets.files import PictureSize, UnreadableFileError, picture_size
from denseclip.datasets.panoptic import AnnotationError, PanopticSegmentsDataset
from denseclip.datasets.transforms.panoptic import read_segment_ids
from denseclip.files.names import shown
from denseclip.structures.panoptic import VOID


@dataclass
class SegmentCount:
    """Segments of a class.

    Attributes:
        thing: Whether it is countable.
        pixels: Of all segments, crowds too.
        segments: All that training uses.
        pictures: Pictures that hold at least one.
        crowd: Crowd regions, which training ignores.
    """

    thing: bool
    pixels: int = 0
    segments: int = 0
    pictures: int = 0
    crowd: int = 0


@dataclass
class PanopticAuditReport:
    """Findings of :func:`audit_panoptic`.

    Attributes:
        classes: By name, in the order of the labels.
        num_samples: Pictures that the annotation file lists.
        most: Most segments of one picture.
        num_pixels: Pixels of all maps that could be read.
        void: Those of no segment.
        unused: Segments of categories that the data set does not have, by name; their pixels are void to training.
        without_area: Segments whose ``area`` is missing and counted from the PNG.
        unlisted: Pictures of the file that have no annotation.
        strays: PNGs that the file does not name.
        problems: All problems, in the order of the file.
        turns: Pictures with an EXIF orientation.
    """

    classes: dict[str, SegmentCount] = field(default_factory=dict)
    num_samples: int = 0
    most: int = 0
    num_pixels: int = 0
    void: int = 0
    unused: Counter[str] = field(default_factory=Counter)
    without_area: int = 0
    unlisted: int = 0
    strays: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    turns: TurnedPictures = field(default_factory=TurnedPictures)

    @property
    def ok(self) -> bool:
        """Whether training can start: there are segments and nothing is wrong with them."""
        return any(count.segments for count in self.classes.values()) and not self.problems

    def suggestions(self) -> list[str]:
        """Likely causes of what was found and what to do, one line each."""
        found = []
        if self.unused:
            listed = ', '.join(f'{name} ({count})' for name, count in self.unused.most_common(8))
            found.append(f'segments of categories that the data set does not name are void to training: {listed}')
        absent = [name for name, count in self.classes.items() if not count.segments]
        if absent and self.num_samples:
            shown = ', '.join(absent[:8]) + (f' and {len(absent) - 8} more' if len(absent) > 8 else '')
            found.append(f'no segment of: {shown}; their PQ is undefined and left out of the mean')
        if self.without_area:
            found.append(f'{self.without_area} segments have no area in the file; it is counted from the PNG')
        if self.unlisted:
            found.append(f'{self.unlisted} pictures of the file have no annotation and are left out')
        if self.strays:
            found.append(f'{len(self.strays)} PNGs are not named by the file, the first is {self.strays[0]}')
        if self.num_pixels and self.void > self.num_pixels / 2:
            found.append(f'{self._share(self.void)} of the pixels are void: do the PNGs belong to this file?')
        return found + self.turns.hints()

    def render(self, *, max_problems: int = 20) -> str:
        """The report as text: table of classes, problems (at most ``max_problems`` lines of each kind), advice."""
        segments = sum(count.segments for count in self.classes.values())
        lines = [
            f'{self.num_samples} pictures, {segments} segments, at most {self.most} in one, '
            f'void {self._share(self.void)} of the pixels',
            '',
        ]
        width = max(map(len, ('class', *map(shown, self.classes))))
        lines.append(
            f'{"id":>4}  {"class":<{width}}  {"kind":<5}  {"pixels":>9}  {"segments":>8}  {"pictures":>8}  crowd'
        )
        for label, (name, count) in enumerate(self.classes.items()):
            kind, share = 'thing' if count.thing else 'stuff', self._share(count.pixels)
            numbers = f'{count.segments:>8}  {count.pictures:>8}  {count.crowd:>5}'
            lines.append(f'{label:>4}  {shown(name):<{width}}  {kind}  {share:>9}  {numbers}')
        lines += render_problems(self.problems, max_problems)
        lines += ['', *(f'HINT {shown(line)}' for line in self.suggestions())] if self.suggestions() else []
        return '\n'.join([*lines, '', 'OK' if self.ok else 'NOT OK'])

    def _share(self, pixels: int) -> str:
        return f'{100 * pixels / max(1, self.num_pixels):.3f} %'


@dataclass(frozen=True)
class _Sample:
    """What was read of one picture; ``pixels`` by segment id."""

    problems: tuple[Problem, ...]
    size: PictureSize | None = None
    pixels: Mapping[int, int] | None = None


def audit_panoptic(
    dataset: PanopticSegmentsDataset,
    *,
    num_workers: int = 2,
    progress: Callable[[], None] | None = None,
    upright: bool = True,
) -> PanopticAuditReport:
    """Read the annotation file, every picture and every PNG of a panoptic data set.

    Args:
        dataset: The data set; it need not have read its annotations (``lazy_init=True``).
        num_workers: Threads that decode files.
        progress: Called after each picture.
        upright: Whether training turns pictures by their EXIF orientation.

    Returns:
        The report; reading problems are part of it and never raised.
    """
    report = PanopticAuditReport()
    try:
        content = dataset.read_annotations()
        labels = dataset.set_classes(content['categories'])
    except AnnotationError as error:
        report.problems.append(Problem('annotations', str(error)))
        return report
    meta = dataset.metainfo
    report.classes = {name: SegmentCount(name in meta['thing_classes']) for name in meta['classes']}
    images = {image['id']: image for image in content['images']}
    categories = {entry['id']: str(entry['name']) for entry in content['categories']}
    report.num_samples = len(content['annotations'])
    report.unlisted = len(images.keys() - {entry['image_id'] for entry in content['annotations']})
    report.problems += _repeated(content['images'], 'id') + _repeated(content['annotations'], 'image_id')
    infos = [dataset.sample(entry, images, labels) for entry in content['annotations']]
    with ThreadPoolExecutor(max(1, num_workers)) as pool:
        read = pool.map(partial(_read, upright=upright), infos, content['annotations'])
        for entry, info, sample in zip(content['annotations'], infos, read, strict=True):
            if images and entry['image_id'] not in images:
                message = f'{info["seg_map_path"]}: there is no picture with the id {entry["image_id"]!r}'
                report.problems.append(Problem('ids', message))
            _add(report, entry, info, sample, categories)
            if progress:
                progress()
    report.strays = _strays(infos)
    return report


def _repeated(entries: list[dict[str, Any]], key: str) -> list[Problem]:
    counts = Counter(entry[key] for entry in entries)
    return [Problem('repeated', f'{n} entries have the {key} {value!r}') for value, n in counts.items() if n > 1]


def _read(info: Mapping[str, Any], entry: Mapping[str, Any], *, upright: bool) -> _Sample:
    """Decode one picture and its PNG."""
    problems = []
    size, path = None, info['seg_map_path']
    try:
        size = picture_size(info['img_path'])
        shape = size.read(upright=upright)
        said = (info['height'] or shape[0], info['width'] or shape[1])
        message = f'{info["img_path"]}: is {shape} (h, w), the annotation file says {said}'
        fault = size.fault(said, message, upright=upright, in_config=True)
        problems += [Problem('size', fault)] if fault else []
    except UnreadableFileError as error:
        problems.append(Problem('unreadable', str(error)))
    try:
        ids = read_segment_ids(path, [segment['id'] for segment in entry['segments_info']])
    except UnreadableFileError as error:
        return _Sample((*problems, Problem('unreadable', str(error))), size)
    if size is not None:
        message = f'{path}: size {ids.shape} differs from its picture {size.read(upright=upright)} (h, w)'
        fault = size.fault(ids.shape, message, upright=upright, in_config=True)
        problems += [Problem('size', fault)] if fault else []
    found, counts = np.unique(ids, return_counts=True)
    return _Sample(tuple(problems), size, dict(zip(found.tolist(), counts.tolist(), strict=True)))


def _add(
    report: PanopticAuditReport,
    entry: Mapping[str, Any],
    info: Mapping[str, Any],
    sample: _Sample,
    categories: Mapping[Any, str],
) -> None:
    """Add one picture's findings to the report."""
    report.problems += sample.problems
    if sample.size is not None:
        report.turns.add(info['img_path'], sample.size)
    if sample.pixels is None:
        return
    report.problems += _segment_problems(entry, info['seg_map_path'], sample.pixels, categories)
    report.num_pixels += sum(sample.pixels.values())
    names = list(report.classes)
    seen = set()
    for segment in info['segments_info']:
        pixels = sample.pixels.get(segment['id'], 0)
        count = report.classes[names[segment['category_id']]]
        count.pixels += pixels
        count.crowd += bool(segment['iscrowd'])
        count.segments += bool(pixels) and not segment['iscrowd']
        count.pictures += bool(pixels) and segment['category_id'] not in seen
        seen.add(segment['category_id'])
        report.without_area += not segment['area']
    used = {segment['id'] for segment in info['segments_info']}
    report.void += sum(pixels for i, pixels in sample.pixels.items() if i not in used)
    report.most = max(report.most, len(used & sample.pixels.keys()))
    for segment in entry['segments_info']:
        if segment['id'] not in used and segment['id'] != VOID and segment['category_id'] in categories:
            report.unused[categories[segment['category_id']]] += 1


def _segment_problems(
    entry: Mapping[str, Any], path: str, pixels: Mapping[int, int], categories: Mapping[Any, str]
) -> list[Problem]:
    """Where the list of segments and the PNG do not fit together."""
    found = []
    listed = Counter(segment['id'] for segment in entry['segments_info'])
    for segment in entry['segments_info']:
        i, category = segment['id'], segment['category_id']
        where = f'{path}: segment {i!r} ({categories.get(category, "no category")})'
        if category not in categories:
            found.append(Problem('ids', f'{where}: there is no category with the id {category!r}'))
        if i == VOID:
            found.append(Problem('segments', f'{where}: the id 0 means void, so it is lost; number segments from 1'))
        elif i not in pixels:
            found.append(Problem('segments', f'{where}: is in the annotation file, but has no pixel in the PNG'))
        elif segment.get('area') and segment['area'] != pixels[i]:
            found.append(
                Problem(
                    'area',
                    f'{where}: has {pixels[i]} pixels, its area is said to be {segment["area"]}, by which PQ would be '
                    'wrong; correct it, or leave it out to have it counted',
                )
            )
    found += [Problem('repeated', f'{path}: {n} segments have the id {i!r}') for i, n in listed.items() if n > 1]
    strange = sorted(pixels.keys() - listed.keys() - {VOID})
    if strange:
        shown = ', '.join(map(str, strange[:10])) + (' ...' if len(strange) > 10 else '')
        lost = sum(pixels[i] for i in strange)
        found.append(
            Problem('segments', f'{path}: holds ids that the annotation file does not list: {shown} ({lost} pixels)')
        )
    return found


def _strays(infos: list[dict[str, Any]]) -> list[str]:
    """PNGs beside those of the file that it does not name; they may be of another split."""
    used = {Path(info['seg_map_path']).resolve() for info in infos}
    folders = {Path(info['seg_map_path']).parent for info in infos if Path(info['seg_map_path']).parent.is_dir()}
    there = [path for folder in sorted(folders) for path in sorted(folder.glob('*.png'))]
    return [str(path) for path in there if path.resolve() not in used]
