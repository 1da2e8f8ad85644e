"""Region classification: a true mask, its class among many; how often is the most similar name the right one?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.logging import MMLogger, print_log
from mmengine.registry import METRICS
from prettytable import PrettyTable
from torch import Tensor

from denseclip.evaluation.picture_metric import Job, PictureMetric


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
    return _accuracies(best, labels, scores.shape[1], top)


def _accuracies(best: Tensor, labels: Tensor, num_classes: int, top: Sequence[int]) -> dict[str, float]:
    """As :func:`region_accuracies`, of the best classes of each region, falling (N, k)."""
    right = best == labels[:, None]
    values = {f'top{k}': 100 * right[:, :k].any(dim=1).double().mean().item() for k in top}
    share = class_accuracies(right[:, 0], labels, num_classes)
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
class RegionMetric(PictureMetric):
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

    def job(self, sample: Mapping[str, Any]) -> Job:
        """Take in a prediction; the best classes of each region are kept, not the scores of all.

        Args:
            sample: Data sample as a dict.

        Raises:
            ValueError: If it has no label or the model gave no scores.
        """
        for key in ('gt_label', 'region_scores'):
            if sample.get(key) is None:
                raise ValueError(f'{sample.get("img_path", "a region")}: the data sample has no {key}')
        label, scores = int(sample['gt_label']), sample['region_scores']
        count = min(max(self.top), len(scores))
        return lambda: (scores.topk(count).indices.cpu(), label, len(scores)) if label >= 0 else None

    def compute_metrics(self, results: list[tuple[Tensor, int, int]]) -> dict[str, float]:
        """Accuracies of all regions."""
        found = [result for result in results if result is not None]
        if not found:
            raise ValueError('RegionMetric: no region has a class of the vocabulary; check vocabulary= of the data set')
        best, (labels, sizes) = (
            torch.stack([row for row, *_ in found]),
            torch.tensor([rest for _, *rest in found], device='cpu').T,
        )
        num_classes = int(sizes[0])
        if self.per_class:
            self._log(best[:, 0] == labels, labels, num_classes)
        return {**_accuracies(best, labels, num_classes, self.top), 'regions': len(found)}

    def _log(self, right: Tensor, labels: Tensor, num_classes: int) -> None:
        names = (self.dataset_meta or {}).get('classes') or range(num_classes)
        share = class_accuracies(right, labels, num_classes)
        table = PrettyTable(['Class', 'Regions', 'top1'])
        counts = torch.bincount(labels, minlength=num_classes).tolist()
        rows = zip(names, counts, (100 * share).tolist(), strict=True)
        table.add_rows([[name, count, f'{value:.2f}'] for name, count, value in rows if count])
        print_log(f'per class results:\n{table.get_string()}', MMLogger.get_current_instance())
