"""A perfect detector: boxes and masks of the annotation files as predictions, under the names of their categories."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from mmdet.datasets import CocoDataset
from mmdet.evaluation.metrics import CocoMetric
from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS, init_default_scope

from denseclip.datasets.coco_json import read_coco
from denseclip.datasets.coco_objects import encode_mask, mask_fault
from denseclip.datasets.config_parts import evaluators, has_boxes, metric_class
from denseclip.datasets.perfect import PerfectScore, is_full, silence
from denseclip.datasets.sources import plain_datasets
from denseclip.evaluation.named_coco_metric import NamedCocoMetric

MAX_PICTURES = 2000
"""Pictures that are scored at most; of more, a share spread over the file in which every class occurs."""

_COUNTED = 100  # boxes of a class in a picture that COCO's AP looks at
_MEASURES = {'bbox': 'box AP', 'segm': 'mask AP'}
_NAMED = "use type='NamedCocoDataset' and type='NamedCocoMetric', which go by the names"


@dataclass
class _Truth:
    """Samples of all data sets of a split, and how their labels fit the names in the files."""

    classes: Sequence[str]
    samples: list[dict[str, Any]] = field(default_factory=list)
    boxes: int = 0
    misnamed: Counter[tuple[str, str]] = field(default_factory=Counter)
    lost: int = 0


def score_perfect_detector(config: Config, split: str, *, max_pictures: int = MAX_PICTURES) -> PerfectScore | None:
    """Score the boxes of a split, and its masks where they are scored, as predictions.

    Args:
        config: A complete config.
        split: ``'train'`` (there labels are compared with names, nothing is scored), ``'val'`` or ``'test'``.
        max_pictures: Pictures that are scored at most.

    Returns:
        The score; None if the data are no boxes in COCO's format.
    """
    init_default_scope(config.get('default_scope') or 'mmseg')
    parts = list(plain_datasets(config[f'{split}_dataloader'].dataset))
    if not all(has_boxes(part) for part in parts):
        return None
    with silence():
        truth = _read(parts)
        problems = _label_problems(truth)
        right = truth.boxes - sum(truth.misnamed.values())
        notes = [f'labels follow names: {right} of {truth.boxes} boxes']
        if truth.lost:
            lines = notes if truth.boxes else problems
            lines.append(
                f'{truth.lost} boxes are not trained: filter_cfg leaves their pictures out, or they are too thin'
            )
        scores: dict[str, float] = {}
        chosen = _choose(truth.samples, max_pictures)
        for kind, metric in _metrics(config, split):
            fault = _mask_fault(chosen) if kind == 'segm' else None
            if fault:
                problems.append(f'masks are not scored: {fault}')
                continue
            found = _score(metric, kind, truth.classes, chosen)
            if found is None:
                continue
            scores[_MEASURES[kind]] = found.pop('')
            if not is_full(scores[_MEASURES[kind]]):
                lines = notes if _only_crowded(found, chosen) else problems
                lines.append(_explain(_MEASURES[kind], found, chosen))
    if scores and len(chosen) < len(truth.samples):
        notes.append(f'scored on {len(chosen)} of {len(truth.samples)} pictures')
    return PerfectScore('detector', scores, tuple(notes), tuple(problems))


def _read(parts: Sequence[Mapping[str, Any]]) -> _Truth:
    """Samples as the data sets give them, with the label of each object's name as ``named``."""
    truth = _Truth(())
    for part in parts:
        dataset: CocoDataset = DATASETS.build({**part, 'pipeline': [], 'serialize_data': False})
        truth.classes = [str(name) for name in dataset.metainfo['classes']]
        names = _names_in(dataset.ann_file, truth.classes)
        for info in dataset.data_list:
            names_here = names.pop(info['img_id'], {})
            for entry in info['instances']:
                _compare(truth, entry, names_here.get(tuple(entry['bbox']), set()))
            truth.samples.append(info)
        truth.lost += sum(map(len, names.values()))
    return truth


def _names_in(ann_file: str, classes: Sequence[str]) -> dict[Any, dict[tuple[float, ...], set[str]]]:
    """Names of the objects with a box in the file, by picture and corners."""
    content = read_coco(ann_file)
    categories = {entry['id']: str(entry['name']) for entry in content['categories']}
    found: dict[Any, dict[tuple[float, ...], set[str]]] = defaultdict(lambda: defaultdict(set))
    for entry in content['annotations']:
        name = categories.get(entry['category_id'])
        if name in classes and isinstance(entry.get('bbox'), list) and len(entry['bbox']) == 4:
            x, y, w, h = entry['bbox']
            found[entry['image_id']][(x, y, x + w, y + h)].add(str(name))
    return found


def _compare(truth: _Truth, entry: dict[str, Any], names: set[str]) -> None:
    """Note what the data set calls an object, and what the file calls it."""
    given = truth.classes[entry['bbox_label']]
    name = given if given in names or not names else min(names)
    entry['named'] = truth.classes.index(name)
    truth.boxes += 1
    if name != given:
        truth.misnamed[name, given] += 1


def _label_problems(truth: _Truth) -> list[str]:
    """Names that training would learn wrongly."""
    return [
        f'{count} boxes of "{name}" get the label of "{given}"; {_NAMED}'
        for (name, given), count in truth.misnamed.most_common(8)
    ]


def _choose(samples: list[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """At most ``limit`` samples spread over all of them, and the first of each class that would be missing."""
    if len(samples) <= limit:
        return samples
    places = {round(k * (len(samples) - 1) / (limit - 1)) for k in range(limit)}
    seen = {entry['named'] for place in places for entry in samples[place]['instances']}
    for place, sample in enumerate(samples):
        new = {entry['named'] for entry in sample['instances'] if not entry['ignore_flag']} - seen
        if new:
            seen |= new
            places.add(place)
    return [samples[place] for place in sorted(places)]


def _mask_fault(samples: Sequence[Mapping[str, Any]]) -> str | None:
    """The first mask that the evaluator would stumble over, in words."""
    for sample in samples:
        for entry in sample['instances']:
            fault = mask_fault(entry.get('mask'), sample['width'], sample['height'])
            if fault:
                return f'{sample["img_path"]}: an object at {entry["bbox"]}: {fault}'
    return None


def _metrics(config: Config, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Kind of AP and the evaluator's config, for each that scores boxes or masks."""
    for evaluator in evaluators(config, split):
        metric = metric_class(evaluator)
        if metric is None or not issubclass(metric, CocoMetric):
            continue
        by_class = issubclass(metric, NamedCocoMetric)  # the host's own table takes not every name
        kinds = evaluator.get('metric', 'bbox')
        for kind in [kinds] if isinstance(kinds, str) else kinds:
            if kind in _MEASURES:
                changes = {'metric': kind, 'classwise': by_class, 'outfile_prefix': None, 'format_only': False}
                yield kind, {**evaluator, **changes}


def _score(
    config: Mapping[str, Any], kind: str, classes: Sequence[str], samples: Sequence[dict[str, Any]]
) -> dict[str, float] | None:
    """AP over all classes under the name ``''``, and of classes by name where it is known; None without an object."""
    if not any(not entry['ignore_flag'] for sample in samples for entry in sample['instances']):
        return None
    metric: CocoMetric = METRICS.build(dict(config))
    metric.dataset_meta = {'classes': tuple(classes)}
    metric.img_ids = [sample['img_id'] for sample in samples]
    metric.process({}, [_prediction(sample, masks=kind == 'segm') for sample in samples])
    found = metric.compute_metrics(metric.results)
    ending = '_precision'
    by_name = {key.removesuffix(ending): value for key, value in found.items() if key.endswith(ending)}
    return {'': found[f'{kind}_mAP'], **by_name}


def _prediction(sample: Mapping[str, Any], *, masks: bool) -> dict[str, Any]:
    """The truth of a picture as a detector's result: every object but crowds, with full score."""
    objects = [entry for entry in sample['instances'] if not entry['ignore_flag']]
    size = (sample['width'], sample['height'])
    found: dict[str, Any] = {
        'bboxes': torch.tensor([entry['bbox'] for entry in objects], dtype=torch.float64, device='cpu').reshape(-1, 4),
        'labels': torch.tensor([entry['named'] for entry in objects], dtype=torch.int64, device='cpu'),
        'scores': torch.ones(len(objects), dtype=torch.float64, device='cpu'),
    }
    if masks:
        found['masks'] = [encode_mask(entry['mask'], *size) for entry in objects]
    keys = {'img_id': sample['img_id'], 'ori_shape': size[::-1], 'instances': sample['instances']}
    return {**keys, 'pred_instances': found}


def _only_crowded(by_name: Mapping[str, float], samples: Sequence[dict[str, Any]]) -> bool:
    """Whether a score is low only because a picture holds more boxes of a class than COCO's AP looks at."""
    full = all(is_full(value) for value in by_name.values() if not math.isnan(value))
    return full and any(_most(sample) > _COUNTED for sample in samples)


def _most(sample: Mapping[str, Any]) -> int:
    """Boxes of the class that a picture holds most of."""
    return max(Counter(entry['named'] for entry in sample['instances']).values(), default=0)


def _explain(measure: str, by_name: Mapping[str, float], samples: Sequence[dict[str, Any]]) -> str:
    """Why a score is not full."""
    if _only_crowded(by_name, samples):
        count = sum(_most(sample) > _COUNTED for sample in samples)
        return (
            f'{measure} looks at {_COUNTED} boxes of a class in a picture; {count} pictures hold more, hence not 1.000'
        )
    short = [f'{name} {value:.3f}' for name, value in by_name.items() if value < 1 and not is_full(value)]
    return (
        f'{measure} of {", ".join(short[:8]) or "all classes"} is short: the evaluator reads the annotations otherwise '
        f'than the data set. Have both the same ann_file, with a name for each category? If so, {_NAMED}'
    )
