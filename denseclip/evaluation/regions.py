"""Region classification: a true mask, its class among many; how often is the most similar name the right one?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log
from mmengine.registry import METRICS
from prettytable import PrettyTable
from torch import Tensor


def region_accuracies(scores: Tensor, labels: Tensor, top: Sequence[int] = (1, 5)) -> dict[str, float]:
    """Accuracies in percent.

    Args:
        scores: Of each region and class, (N, K).
        labels: True classes, (N).
        top: For which k a region counts as right when its class is among the k best.

    Returns:
        ``topK`` for each k, and ``macro``: the mean over the classes that occur of the share of their regions whose
        best class is right, so that frequent classes do not decide.

    Raises:
        ValueError: If there is no region.
    """
    if not len(labels):
        raise ValueError('there is no region to score')
    best = scores.topk(min(max(top), scores.shape[1]), dim=1).indices
    right = best == labels[:, None]
    values = {f'top{k}': 100 * right[:, :k].any(dim=1).double().mean().item() for k in top}
    share = class_accuracies(right[:, 0], labels, scores.shape[1])
    return {**values, 'macro': 100 * share[~share.isnan()].mean().item()}


def class_accuracies(right: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Share of right regions of each class, float64 (K); NaN for classes without a region.

    Args:
        right: Whether each region is, bool (N).
        labels: True classes, (N).
        num_classes: K.
    """
    counts = torch.bincount(labels, minlength=num_classes).double()
    return torch.bincount(labels, weights=right.double(), minlength=num_classes) / counts


@METRICS.register_module()
class RegionMetric(BaseMetric):
    """Top-1, top-5 and macro accuracy of region classification.

    Data samples need ``gt_label`` (an integer; negative ones have no class in the vocabulary and are not scored) and
    ``region_scores`` (K).

    Args:
        top: See :func:`region_accuracies`.
        per_class: Log a table of all classes.
        collect_device: See :class:`mmengine.evaluator.BaseMetric`.
        prefix: See there.
    """

    default_prefix = None

    def __init__(
        self,
        top: Sequence[int] = (1, 5),
        per_class: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.top, self.per_class = tuple(top), per_class

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Take in a batch of predictions.

        Args:
            data_batch: Not used.
            data_samples: Data samples as dicts.

        Raises:
            ValueError: If a sample has no label or the model gave no scores.
        """
        for sample in data_samples:
            for key in ('gt_label', 'region_scores'):
                if sample.get(key) is None:
                    raise ValueError(f'{sample.get("img_path", "a region")}: the data sample has no {key}')
            label = int(sample['gt_label'])
            if label >= 0:
                self.results.append((sample['region_scores'].cpu(), label))

    def compute_metrics(self, results: list[tuple[Tensor, int]]) -> dict[str, float]:
        """Accuracies of all regions."""
        if not results:
            raise ValueError('RegionMetric: no region has a class of the vocabulary; check vocabulary= of the data set')
        scores = torch.stack([score for score, _ in results])
        labels = torch.tensor([label for _, label in results])
        values = region_accuracies(scores, labels, self.top)
        if self.per_class:
            self._log(scores, labels)
        return {**values, 'regions': len(results)}

    def _log(self, scores: Tensor, labels: Tensor) -> None:
        names = (self.dataset_meta or {}).get('classes') or range(scores.shape[1])
        share = class_accuracies(scores.argmax(dim=1) == labels, labels, scores.shape[1])
        table = PrettyTable(['Class', 'Regions', 'top1'])
        counts = torch.bincount(labels, minlength=scores.shape[1]).tolist()
        rows = zip(names, counts, (100 * share).tolist(), strict=True)
        table.add_rows([[name, count, f'{value:.2f}'] for name, count, value in rows if count])
        print_log(f'per class results:\n{table.get_string()}', MMLogger.get_current_instance())
