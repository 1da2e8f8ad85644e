"""A perfect segmentor: label maps as predictions, each pixel under the name of its class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import DATASETS, METRICS, init_default_scope
from mmengine.structures import PixelData
from mmseg.datasets import BaseSegDataset
from mmseg.evaluation import IoUMetric

from denseclip.datasets.config_parts import evaluators, metric_class
from denseclip.datasets.files import UnreadableFileError, read_label_map
from denseclip.datasets.label_map_dataset import loader_id
from denseclip.datasets.perfect import PerfectScore, is_full, silence
from denseclip.datasets.sources import dataset_class, plain_datasets
from denseclip.evaluation.semantic import SemanticMetric

MAX_PICTURES = 64
"""Pictures that are scored, spread over the split; further ones only where they hold a class that these do not."""
MAX_LOOKS = 500
"""Label maps that are looked at to find every class."""

VOID = -1
Truth = Callable[[str], np.ndarray]
"""Gives the class of each pixel of a picture by its path, int (H, W), :data:`VOID` for none."""
_LABELS = ('LoadAnnotations', 'LoadWideAnnotations')


@dataclass
class _Comparison:
    """What training sees of pixels whose class is known.

    Attributes:
        pixels: All that were compared.
        wrong: Pixels by true and seen class.
        first: The first picture of each such pair.
        failures: Pictures that the pipeline or the evaluator cannot take.
    """

    pixels: int = 0
    wrong: Counter[tuple[int, int]] = field(default_factory=Counter)
    first: dict[tuple[int, int], str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, path: str, true: np.ndarray, seen: np.ndarray) -> None:
        """Compare one picture, both (H, W) with :data:`VOID` for no class."""
        self.pixels += true.size
        off = true != seen
        pairs, counts = np.unique(np.stack([true[off], seen[off]]), axis=1, return_counts=True)
        for (one, other), count in zip(pairs.T.tolist(), counts.tolist(), strict=True):
            self.wrong[one, other] += count
            self.first.setdefault((one, other), path)

    def problems(self, names: Sequence[str]) -> list[str]:
        """A line for each pair of classes, the most frequent first."""

        def name(label: int) -> str:
            return 'no class' if label == VOID else names[label] if label < len(names) else f'the unknown label {label}'

        return self.failures[:5] + [
            f'{count} pixels of {name(one)} are trained as {name(other)}, the first in {self.first[one, other]}'
            for (one, other), count in self.wrong.most_common(10)
        ]


def score_perfect_segmentor(config: Config, split: str, *, truth: Truth | None = None) -> PerfectScore | None:
    """Score the label maps of a split as predictions.

    Args:
        config: A complete config.
        split: ``'train'`` (loaded as in training but not changed, scored as in validation), ``'val'`` or ``'test'``.
        truth: What the pixels are; by default what the files hold, read anew and mapped as the data set says.

    Returns:
        The score; None if the data have no label maps or the pipeline does not load them.
    """
    init_default_scope(config.get('default_scope') or 'mmseg')
    parts = list(plain_datasets(config[f'{split}_dataloader'].dataset))
    steps = [step for part in parts for step in part.get('pipeline', [])]
    if not all(is_semantic(part) for part in parts) or not any(_kind(step) in _LABELS for step in steps):
        return None
    compared = _Comparison()
    scored_as = 'val' if split == 'train' else split
    with silence():
        datasets = [build_reader(part, split) for part in parts]
        metrics = [_metric(entry, datasets[0]) for entry in evaluators(config, scored_as) if scores_labels(entry)]
        samples = [(dataset, index) for dataset in datasets for index in range(len(dataset))]
        chosen = list(_choose(samples, truth))
        for dataset, index, true in chosen:
            _score(dataset, index, true, metrics, compared)
        scores = _evaluate(metrics, len(chosen), compared)
    names = [str(name) for name in datasets[0].metainfo['classes']]
    right = compared.pixels - sum(compared.wrong.values())
    notes = [f'labels follow names: {right} of {compared.pixels} pixels of {len(chosen)} of {len(samples)} pictures']
    problems = compared.problems(names)
    if not problems and not all(map(is_full, scores.values())):
        problems.append('labels are right, but their score is not full: look at the ignore_index of the evaluator')
    return PerfectScore('segmentor', scores, tuple(notes), tuple(problems))


def _kind(step: Mapping[str, Any]) -> str:
    return str(step.get('type')).rpartition('.')[2]


def is_semantic(part: Mapping[str, Any]) -> bool:
    """Whether the data set of a config has label maps as MMSegmentation reads them."""
    kind = dataset_class(part)
    return kind is not None and issubclass(kind, BaseSegDataset)


def build_reader(part: Mapping[str, Any], split: str) -> BaseSegDataset:
    """A data set with its pipeline; of the one for training only what loads, checks and packs.

    Args:
        part: Config of a plain data set.
        split: ``'train'``, ``'val'`` or ``'test'``.
    """
    steps = list(part['pipeline'])
    if split == 'train':
        steps = [s for s in steps if _kind(s).startswith(('Load', 'Pack', 'Check'))]
    return DATASETS.build({**part, 'pipeline': steps, 'serialize_data': False})


def scores_labels(evaluator: Mapping[str, Any]) -> bool:
    """Whether the metric of a config scores label maps."""
    kind = metric_class(evaluator)
    return kind is not None and issubclass(kind, IoUMetric | SemanticMetric)


def _metric(evaluator: Mapping[str, Any], dataset: BaseSegDataset) -> BaseMetric:
    asks_for_files = {
        key: value for key, value in {'output_dir': None, 'format_only': False}.items() if key in evaluator
    }
    metric = METRICS.build({**evaluator, **asks_for_files})
    metric.dataset_meta = dataset.metainfo
    return metric


def _choose(
    samples: Sequence[tuple[BaseSegDataset, int]], truth: Truth | None
) -> Iterator[tuple[BaseSegDataset, int, np.ndarray]]:
    """Samples to score: some spread over all, and those of further ones that hold a class that was not seen yet."""
    unseen = set(range(len(samples[0][0].metainfo['classes']))) if samples else set()
    for place, at in enumerate(_spread(len(samples))[:MAX_LOOKS]):
        if place >= MAX_PICTURES and not unseen:
            return
        dataset, index = samples[at]
        info = dataset.get_data_info(index)
        try:
            true = truth(info['img_path']) if truth else true_labels(dataset, info)
        except UnreadableFileError:
            continue  # the audit has said so
        found = set(np.unique(true).tolist())
        if place < MAX_PICTURES or found & unseen:
            unseen -= found
            yield dataset, index, true


def _spread(count: int) -> list[int]:
    """All numbers below ``count``, in an order of which every beginning is spread over the whole."""
    step = round(count * 0.6180339887) | 1
    while np.gcd(step, count) > 1:
        step += 2
    return [place * step % count for place in range(count)]


def true_labels(dataset: BaseSegDataset, info: Mapping[str, Any]) -> np.ndarray:
    """The class of each pixel as the data set's mapping of ids says, (H, W); :data:`VOID` for none.

    Args:
        dataset: The data set.
        info: What it says of the picture (``get_data_info``).
    """
    ids = read_label_map(info['seg_map_path'])
    found, inverse = np.unique(ids, return_inverse=True)
    mapped = [loader_id(int(i), dataset.reduce_zero_label, dataset.label_map) for i in found]
    labels = np.array([VOID if label == dataset.ignore_index else label for label in mapped], dtype=np.int64)
    return labels[inverse.reshape(ids.shape)]


def _score(
    dataset: BaseSegDataset, index: int, true: np.ndarray, metrics: Sequence[BaseMetric], compared: _Comparison
) -> None:
    """Run one sample through the pipeline, compare its labels, and give the truth to the metrics as a prediction."""
    path = dataset.get_data_info(index)['img_path']
    try:
        sample = dataset.prepare_data(index)['data_samples']
    except (ValueError, KeyError, OSError, TypeError) as error:
        compared.failures.append(f'{path}: the pipeline stops: {error}')
        return
    seen = sample.gt_sem_seg.data[0].numpy().astype(np.int64)
    if seen.shape != true.shape:
        compared.failures.append(
            f'{path}: its labels have the size {seen.shape} behind the pipeline, the picture has {true.shape}; '
            'LoadAnnotations must stand behind Resize, for scores are taken at the size of the picture'
        )
        return
    compared.add(path, true, np.where(seen == dataset.ignore_index, VOID, seen))
    sample.pred_sem_seg = PixelData(data=torch.from_numpy(np.maximum(true, 0))[None])
    for metric in metrics:
        metric.process({}, [sample.to_dict()])


def _evaluate(metrics: Sequence[BaseMetric], count: int, compared: _Comparison) -> dict[str, float]:
    """The mIoU of the metrics, 0 to 1; nothing where no picture could be scored."""
    if not count or compared.failures:
        return {}
    found = [metric.evaluate(count) for metric in metrics]
    return {key: float(value) / 100 for result in found for key, value in result.items() if key.endswith('mIoU')}
