"""Look through boxes in COCO's layout before training on them: files, sizes, ids, boxes, masks, classes.

The file is read as it stands, not through the data set: MMDetection leaves out what it cannot use without a word, and
that is what should be found.
"""

from __future__ import annotations

import difflib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mmdet.datasets import CocoDataset

from denseclip.datasets.audit_report import Problem
from denseclip.datasets.box_report import SIZE_LIMITS, BoxAuditReport, ClassCount
from denseclip.datasets.coco_json import CocoFault, Content, ids_by_name, open_coco
from denseclip.datasets.coco_objects import box_fault, is_number, mask_fault
from denseclip.datasets.files import PictureSize, UnreadableFileError, picture_size
from denseclip.datasets.named_coco import NamedCocoDataset, shifted_label


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
        content, faults = open_coco(dataset.ann_file)
    except UnreadableFileError as error:
        report.problems.append(Problem('unreadable', str(error)))
        return report
    report.num_samples = len(content['images'])
    report.problems += [Problem(fault.kind, f'{dataset.ann_file}: {fault.message}') for fault in faults]
    content = _without(content, faults, report)
    images, annotations = content['images'], content['annotations']
    report.problems += _repeated(images, ('id', 'file_name'), 'pictures')
    report.problems += _repeated(annotations, ('id',), 'annotations')
    report.problems += _class_problems(dataset, content, report)
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
    _count_boxes(report, dataset.ann_file, content, masks=masks)
    report.problems += _crowded_classes(report)
    return report


def _without(content: Content, faults: Sequence[CocoFault], report: BoxAuditReport) -> Content:
    """What can be looked at further: pictures and categories that can be told apart, objects without a fault.

    A faulty object still is one of its class.
    """
    kinds: dict[tuple[str, int], set[str]] = defaultdict(set)
    for fault in faults:
        kinds[fault.part, fault.place].add(fault.kind)
    left_out = {place for place, found in kinds.items() if place[0] == 'annotations' or found & {'ids', 'unreadable'}}
    kept = {
        part: [entry for place, entry in enumerate(content[part]) if (part, place) not in left_out]
        for part in ('images', 'annotations', 'categories')
    }
    names = {entry['id']: str(entry['name']) for entry in kept['categories']}
    for (part, place), found in kinds.items():
        name = names.get(content[part][place]['category_id']) if part == 'annotations' and 'ids' not in found else None
        if name in report.classes:
            report.classes[name].plain += 1
    return kept


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
    if any(key in entry and not is_number(entry[key]) for key in ('height', 'width')):
        return []  # a problem of its own already
    path, said = folder / str(entry['file_name']), (entry.get('height'), entry.get('width'))
    message = f'{path}: is {size.read(upright=upright)} (h, w), the annotation file says {said}'
    fault = size.fault(said, message, upright=upright, in_config=True)
    return [Problem('size', fault)] if fault else []


def _class_problems(
    dataset: CocoDataset, content: Mapping[str, Sequence[Mapping[str, Any]]], report: BoxAuditReport
) -> Iterator[Problem]:
    """Whether labels will follow the names of the categories."""
    path, classes = dataset.ann_file, list(report.classes)
    listed = [str(entry['name']) for entry in content['categories']]
    report.absent = [name for name in classes if name not in listed]
    named = isinstance(dataset, NamedCocoDataset)
    try:
        ids_by_name(content, path)
    except ValueError as error:
        yield Problem('classes', str(error))
        return
    for name in report.absent:
        near = _near(name, [other for other in listed if other not in classes])
        if near:
            yield Problem('classes', f'{path}: no category "{name}"; is it "{near}"? Spell both the same')
        elif not named:
            yield Problem('classes', f'{path}: no category "{name}"; it has: {", ".join(listed)}')
    shifted = None if report.absent else shifted_label(dataset)
    if shifted:
        wrong, given = shifted
        yield Problem(
            'classes',
            f'{path}: lists its categories in another order than the config its classes, and {type(dataset).__name__} '
            f'goes by the order: boxes of "{wrong}" would be trained as "{given}". Use type=\'NamedCocoDataset\' and '
            "type='NamedCocoMetric', which go by the names",
        )


def _near(name: str, others: Sequence[str]) -> str | None:
    """A name that is probably meant."""
    plain = {other.casefold().replace('_', ' ').replace('-', ' ').strip(): other for other in others}
    wanted = name.casefold().replace('_', ' ').replace('-', ' ').strip()
    near = difflib.get_close_matches(wanted, plain, n=1, cutoff=0.85)
    return plain[near[0]] if near else None


def _count_boxes(
    report: BoxAuditReport, path: str, content: Mapping[str, Sequence[Mapping[str, Any]]], *, masks: bool
) -> None:
    """Check every annotation and count what training will use."""
    images = content['images']
    categories = {entry['id']: str(entry['name']) for entry in content['categories']}
    sizes = {entry['id']: (entry.get('width'), entry.get('height'), entry['file_name']) for entry in images}
    in_picture: Counter[Any] = Counter()
    pictures: dict[str, set[Any]] = {name: set() for name in report.classes}
    for entry in content['annotations']:
        where = f'{path}: annotation {entry["id"]}'
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
        where = f'{where} ({name} in {file_name})'
        if name in report.classes:
            report.classes[name].plain += not entry.get('iscrowd')
        wrong = box_fault(entry.get('bbox'), width, height)
        if wrong:
            report.problems.append(Problem('box', f'{where}: {wrong}'))
            continue
        if name not in report.classes:
            report.unused[name] += 1
            continue
        report.problems += _object_problems(entry, where, width, height, masks=masks)
        count = report.classes[name]
        if entry.get('iscrowd'):
            count.crowd += 1
            count.difficult += bool(entry.get('difficult'))
            continue
        count.boxes += 1
        count.sizes[_size_name(entry['bbox'][2] * entry['bbox'][3])] += 1
        pictures[name].add(entry['image_id'])
        in_picture[entry['image_id']] += 1
    for name, found in pictures.items():
        report.classes[name].pictures = len(found)
    report.empty = sum(image_id not in in_picture for image_id in sizes)
    report.most = max(in_picture.values(), default=0)


_MENDED = 'denseclip new-dataset writes a mended copy'


def _object_problems(
    entry: Mapping[str, Any], where: str, width: Any, height: Any, *, masks: bool
) -> Iterator[Problem]:
    """What training or scoring would stumble over in an object whose box is sound."""
    if not is_number(entry['id']) or not entry['id']:
        yield Problem('ids', f'{where}: pycocotools takes no id {entry["id"]!r}; number from 1 ({_MENDED})')
    if not is_number(entry.get('area')) or entry['area'] <= 0:
        yield Problem('area', f'{where}: its area is {entry.get("area")!r}, so training leaves it out ({_MENDED})')
    if 'iscrowd' not in entry or entry['iscrowd'] not in (0, 1):
        yield Problem('crowd', f'{where}: its iscrowd is {entry.get("iscrowd")!r}, neither 0 nor 1 ({_MENDED})')
    elif entry.get('ignore') and not entry['iscrowd']:
        yield Problem('crowd', f'{where}: ignore is known to training only; write iscrowd=1 for it ({_MENDED})')
    fault = mask_fault(entry.get('segmentation'), width, height) if masks else None
    if fault:
        yield Problem('mask', f'{where}: {fault}')


def _crowded_classes(report: BoxAuditReport) -> list[Problem]:
    """Classes that nothing would be learnt of; not asked where objects of unknown class or picture may be theirs.

    Where there are others to learn, a class whose every object somebody marked difficult is a hint: MMDetection's
    reader of VOC leaves such objects out, too.
    """
    if any(problem.kind == 'ids' for problem in report.problems):
        return []
    some = any(count.plain for count in report.classes.values())
    return [
        Problem(
            'crowd',
            f'{name}: all of its {count.crowd} objects are marked iscrowd=1 (difficult, in VOC), which training and '
            'scores leave out; take the mark off with denseclip new-dataset --crowds objects',
        )
        for name, count in report.classes.items()
        if count.crowd and not count.plain and not (some and count.difficult == count.crowd)
    ]


def _size_name(area: float) -> str:
    return next(name for name, limit in SIZE_LIMITS.items() if area <= limit)
