"""Look through boxes in COCO's layout before training on them: files, sizes, ids, boxes, classes.

The file is read as it stands, not through the data set: MMDetection leaves out what it cannot use without a word, and
that is what should be found.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmdet.datasets import CocoDataset

from denseclip.datasets.audit_report import Problem, TurnedPictures, render_problems
from denseclip.datasets.files import PictureSize, UnreadableFileError, picture_size

SIZE_LIMITS = {'small': 32.0**2, 'medium': 96.0**2, 'large': math.inf}
"""Largest area in pixels of COCO's three sizes of object."""

_NEEDED = {
    'images': ('id', 'file_name'),
    'annotations': ('id', 'image_id', 'category_id'),
    'categories': ('id', 'name'),
}
_TOLERANCE = 1.0  # pixels that a box may stick out of its picture: rounding of annotation tools


@dataclass
class ClassCount:
    """Boxes of a class.

    Attributes:
        boxes: All that training uses.
        pictures: Pictures that hold at least one.
        crowd: Crowd regions, which training ignores.
        sizes: Boxes of each of COCO's sizes.
    """

    boxes: int = 0
    pictures: int = 0
    crowd: int = 0
    sizes: Counter[str] = field(default_factory=Counter)


@dataclass
class BoxAuditReport:
    """Findings of :func:`audit_boxes`.

    Attributes:
        classes: By name, in the order of the data set.
        num_samples: Pictures that the annotation file lists.
        empty: Those without a box.
        most: Most boxes of one picture.
        unused: Boxes of categories that the data set does not have, by name.
        without_mask: Objects without a mask, where masks are asked for.
        zero_id: Whether an annotation has the id 0.
        problems: All problems, in the order of the file.
        turns: Pictures with an EXIF orientation.
    """

    classes: dict[str, ClassCount]
    num_samples: int = 0
    empty: int = 0
    most: int = 0
    unused: Counter[str] = field(default_factory=Counter)
    without_mask: int = 0
    zero_id: bool = False
    problems: list[Problem] = field(default_factory=list)
    turns: TurnedPictures = field(default_factory=TurnedPictures)

    @property
    def ok(self) -> bool:
        """Whether training can start: there are boxes and nothing is wrong with them."""
        return any(count.boxes for count in self.classes.values()) and not self.problems

    def suggestions(self) -> list[str]:
        """Likely causes of what was found and what to do, one line each."""
        found = []
        if self.unused:
            listed = ', '.join(f'{name} ({count})' for name, count in self.unused.most_common(8))
            found.append(f'boxes of categories that the config does not name are left out: {listed}')
        absent = [name for name, count in self.classes.items() if not count.boxes]
        if absent and self.num_samples:
            found.append(f'no box of: {", ".join(absent[:8])}; their AP is undefined and left out of the mean')
        if self.zero_id:
            found.append('an annotation has the id 0, which pycocotools takes for "not found": number them from 1')
        if self.num_samples and self.empty > self.num_samples / 2:
            found.append(f'{self.empty} of {self.num_samples} pictures have no box: is that so, or are files missing?')
        if self.without_mask:
            found.append(f'{self.without_mask} objects have no mask: instance segmentation cannot learn from them')
        return found + self.turns.hints()

    def render(self, *, max_problems: int = 20) -> str:
        """The report as text: table of classes, problems (at most ``max_problems`` lines of each kind), advice."""
        lines = [
            f'{self.num_samples} pictures, {self.empty} of them without a box, at most {self.most} boxes in one',
            '',
        ]
        width = max(map(len, ('class', *self.classes)))
        head = ''.join(f'{name:>8}' for name in SIZE_LIMITS)
        lines.append(f'{"class":<{width}}  {"boxes":>8}  {"pictures":>8}  {"crowd":>6}{head}')
        for name, count in self.classes.items():
            sizes = ''.join(f'{count.sizes[size]:>8}' for size in SIZE_LIMITS)
            lines.append(f'{name:<{width}}  {count.boxes:>8}  {count.pictures:>8}  {count.crowd:>6}{sizes}')
        lines += render_problems(self.problems, max_problems)
        lines += ['', *(f'HINT {line}' for line in self.suggestions())] if self.suggestions() else []
        return '\n'.join([*lines, '', 'OK' if self.ok else 'NOT OK'])


def audit_boxes(
    dataset: CocoDataset,
    *,
    num_workers: int = 2,
    progress: Callable[[], None] | None = None,
    masks: bool = False,
    upright: bool = True,
) -> BoxAuditReport:
    """Read the annotation file and every picture of a data set in COCO's layout.

    Args:
        dataset: The data set; it need not have read its annotations (``lazy_init=True``).
        num_workers: Threads that decode pictures.
        progress: Called after each picture.
        masks: Whether every object should have a mask.
        upright: Whether training turns pictures by their EXIF orientation.

    Returns:
        The report; reading problems are part of it and never raised.
    """
    report = BoxAuditReport({str(name): ClassCount() for name in dataset.metainfo['classes']})
    try:
        content = read_coco(dataset.ann_file)
    except UnreadableFileError as error:
        report.problems.append(Problem('unreadable', str(error)))
        return report
    images, annotations = content['images'], content['annotations']
    report.num_samples = len(images)
    report.problems += _repeated(images, ('id', 'file_name'), 'pictures')
    report.problems += _repeated(annotations, ('id',), 'annotations')
    categories = {entry['id']: str(entry['name']) for entry in content['categories']}
    for name in report.classes:
        if name not in categories.values():
            listed = ', '.join(categories.values())
            report.problems.append(Problem('classes', f'{dataset.ann_file}: no category "{name}"; it has: {listed}'))
    folder = Path(dataset.data_prefix.get('img') or '')
    with ThreadPoolExecutor(max(1, num_workers)) as pool:
        for entry, found in zip(images, pool.map(lambda entry: _measure(folder, entry), images), strict=True):
            if isinstance(found, Problem):
                report.problems.append(found)
            else:
                report.problems += _size_problems(folder, entry, found, upright=upright)
                report.turns.add(str(folder / str(entry['file_name'])), found)
            if progress:
                progress()
    _count_boxes(report, images, annotations, categories, masks=masks)
    return report


def read_coco(path: str | Path) -> dict[str, list[dict[str, Any]]]:
    """Read an annotation file in COCO's format.

    Args:
        path: The JSON file.

    Returns:
        ``images``, ``annotations`` and ``categories``, each a list of entries with the keys that training reads.

    Raises:
        UnreadableFileError: If the file is missing or cut off, or a key is missing.
    """
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise UnreadableFileError(f'{path}: no such file') from None
    except (OSError, ValueError) as error:
        raise UnreadableFileError(f'{path}: is no readable JSON ({error})') from error
    for part, keys in _NEEDED.items():
        entries = content.get(part) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise UnreadableFileError(f'{path}: has no list "{part}"; is it an annotation file in COCO\'s format?')
        for place, entry in enumerate(entries):
            lacking = [key for key in keys if not isinstance(entry, Mapping) or key not in entry]
            if lacking:
                raise UnreadableFileError(f'{path}: {part}[{place}] has no "{lacking[0]}"')
    return content


def _repeated(entries: Iterable[Mapping[str, Any]], keys: tuple[str, ...], what: str) -> list[Problem]:
    """Values of ``keys`` that should be unique and are not."""
    found = []
    for key in keys:
        counts = Counter(entry[key] for entry in entries)
        found += [Problem('repeated', f'{n} {what} have the {key} {value!r}') for value, n in counts.items() if n > 1]
    return found


def _measure(folder: Path, entry: Mapping[str, Any]) -> PictureSize | Problem:
    """Size of a picture, or that it cannot be read."""
    try:
        return picture_size(folder / str(entry['file_name']))
    except UnreadableFileError as error:
        return Problem('unreadable', str(error))


def _size_problems(folder: Path, entry: Mapping[str, Any], size: PictureSize, *, upright: bool) -> list[Problem]:
    """Whether a picture has the size that the annotation file says."""
    path, said = folder / str(entry['file_name']), (entry.get('height'), entry.get('width'))
    message = f'{path}: is {size.read(upright=upright)} (h, w), the annotation file says {said}'
    fault = size.fault(said, message, upright=upright, in_config=True)
    return [Problem('size', fault)] if fault else []


def _count_boxes(
    report: BoxAuditReport,
    images: list[dict[str, Any]],
    annotations: list[dict[str, Any]],
    categories: Mapping[Any, str],
    *,
    masks: bool,
) -> None:
    """Check every annotation and count what training will use."""
    sizes = {entry['id']: (entry.get('width'), entry.get('height'), entry['file_name']) for entry in images}
    in_picture: Counter[Any] = Counter()
    pictures: dict[str, set[Any]] = {name: set() for name in report.classes}
    for entry in annotations:
        report.zero_id |= entry['id'] == 0
        where = f'annotation {entry["id"]}'
        if entry['image_id'] not in sizes:
            report.problems.append(Problem('ids', f'{where}: there is no picture with the id {entry["image_id"]!r}'))
            continue
        width, height, file_name = sizes[entry['image_id']]
        name = categories.get(entry['category_id'])
        if name is None:
            report.problems.append(
                Problem('ids', f'{where}: there is no category with the id {entry["category_id"]!r}')
            )
            continue
        wrong = _box_fault(entry.get('bbox'), width, height)
        if wrong:
            report.problems.append(Problem('box', f'{where} ({name} in {file_name}): {wrong}'))
            continue
        if name not in report.classes:
            report.unused[name] += 1
            continue
        count = report.classes[name]
        if entry.get('iscrowd'):
            count.crowd += 1
            continue
        report.without_mask += masks and not entry.get('segmentation')
        count.boxes += 1
        count.sizes[_size_name(entry['bbox'][2] * entry['bbox'][3])] += 1
        pictures[name].add(entry['image_id'])
        in_picture[entry['image_id']] += 1
    for name, found in pictures.items():
        report.classes[name].pictures = len(found)
    report.empty = sum(image_id not in in_picture for image_id in sizes)
    report.most = max(in_picture.values(), default=0)


def _size_name(area: float) -> str:
    return next(name for name, limit in SIZE_LIMITS.items() if area <= limit)


def _box_fault(box: Any, width: Any, height: Any) -> str | None:
    """What is wrong with ``x, y, width, height``, in words."""
    numbers = isinstance(box, list) and len(box) == 4 and all(isinstance(v, int | float) for v in box)
    if not numbers or not all(map(math.isfinite, box)):
        return f'its box {box!r} is not four numbers x, y, width, height'
    x, y, w, h = box
    if w < 1 or h < 1:
        return f'its box {box} is thinner than a pixel; training leaves it out'
    if not (isinstance(width, int | float) and isinstance(height, int | float)):
        return None  # the picture's own line says so already
    if x < -_TOLERANCE or y < -_TOLERANCE or x + w > width + _TOLERANCE or y + h > height + _TOLERANCE:
        return f'its box {box} reaches beyond the picture ({width} x {height}); are these corners, or another size?'
    return None
