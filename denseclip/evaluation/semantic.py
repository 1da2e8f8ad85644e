"""The semantic metric for large vocabularies: both mIoUs, the divisor named, 16-bit labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MMLogger, print_log
from mmengine.registry import METRICS
from prettytable import PrettyTable
from torch import Tensor

from denseclip.recipes import ignored_label

from .confusion import DIVISORS, SemanticScores, confusion_matrix, scores_of_confusion
from .label_files import OutputNames, label_map_job
from .picture_metric import Job, PictureMetric


@METRICS.register_module()
class SemanticMetric(PictureMetric):
    """mIoU by both divisors (:mod:`denseclip.evaluation.confusion`), accuracies, and the same for sets of classes.

    The result holds ``mIoU`` by the chosen divisor, ``mIoU_gt`` and ``mIoU_gt_or_predicted`` with the numbers of
    classes they divide by, ``fwIoU``, ``mAcc`` and ``aAcc``, and for each set of classes ``mIoU-NAME``, ``pAcc-NAME``,
    the same for the others as ``unNAME``, and ``hIoU-NAME``. All are percent.

    Args:
        divisor: ``'gt'`` (detectron2 since July 2022) or ``'gt_or_predicted'`` (mmseg, OVSeg, MAFT+'s evaluator).
        ignore_index: Label of ignored pixels; default: the data set's kind decides (65535 beyond 255 classes, else
            255).
        sets: Named sets of classes, as names or as indices.
        per_class: Log a table of all classes.
        output_dir: Folder for predicted label maps (16 bits beyond 256 ids), in the ids of the files as ``IoUMetric``
            writes them; None writes none. With it, pictures without labels are taken, and not scored.
        keep_results: Score as well when ``output_dir`` is given.
        collect_device: See :class:`mmengine.evaluator.BaseMetric`.
        prefix: See there.

    Raises:
        ValueError: If the divisor is unknown.
    """

    default_prefix = None

    def __init__(
        self,
        divisor: str = 'gt',
        ignore_index: int | None = None,
        sets: Mapping[str, Sequence[int | str]] | None = None,
        per_class: bool = True,
        output_dir: str | Path | None = None,
        keep_results: bool = True,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if divisor not in DIVISORS:
            raise ValueError(f"SemanticMetric: divisor='{divisor}' is unknown; choose from {', '.join(DIVISORS)}")
        self.divisor, self.ignore_index, self.sets = divisor, ignore_index, dict(sets or {})
        self.per_class, self.keep_results = per_class, keep_results
        self.output_dir = None if output_dir is None else Path(output_dir)
        self.output_names = OutputNames()
        self.scores: SemanticScores | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        if not self.dataset_meta or 'classes' not in self.dataset_meta:
            raise ValueError('SemanticMetric needs the class names of the data set (dataset_meta)')
        return tuple(self.dataset_meta['classes'])

    def job(self, sample: Mapping[str, Any]) -> Job:
        """Count a picture's pixels by predicted and true class; the label K is no class, as of a background.

        Args:
            sample: Data sample as a dict with ``pred_sem_seg`` and ``gt_sem_seg``.
        """
        if not self.keep_results or ('gt_sem_seg' not in sample and self.output_dir is not None):
            return lambda: None
        count = len(self.classes)
        ignored = ignored_label(count) if self.ignore_index is None else self.ignore_index
        prediction, truth = sample['pred_sem_seg']['data'].squeeze(0), sample['gt_sem_seg']['data'].squeeze(0)
        return lambda: _filled(confusion_matrix(prediction, truth.to(prediction.device), count, ignored))

    def writing(self, sample: Mapping[str, Any]) -> Job | None:
        """Write a picture's label map."""
        if self.output_dir is None:
            return None
        return label_map_job(sample, len(self.classes), self.output_dir, self.output_names)

    def fold(self, results: list[Any]) -> list[Any]:
        """One sum: the entries of the matrix that any picture fills, and their counts."""
        filled = [result for result in results if result is not None]
        return [_filled(self._sum(filled))] if filled else []

    def _sum(self, results: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """The matrix (K + 1, K + 1) of several pictures."""
        side = len(self.classes) + 1
        total = torch.zeros(side * side, dtype=torch.long, device='cpu')
        for cells, counts in results:
            total.index_add_(0, cells, counts.long())
        return total.view(side, side)

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Scores of all pictures."""
        filled = [result for result in results if result is not None]
        if not filled:
            if self.output_dir is not None:
                print_log(
                    'no pixel has a label: label maps are written, nothing is scored', MMLogger.get_current_instance()
                )
            return {}
        self.scores = scores_of_confusion(self._sum(filled), self._set_indices())
        self._log(self.scores)
        return self._summary(self.scores)

    def _set_indices(self) -> dict[str, list[int]]:
        places = {name: k for k, name in enumerate(self.classes)}
        unknown = [m for members in self.sets.values() for m in members if isinstance(m, str) and m not in places]
        if unknown:
            raise ValueError(f'SemanticMetric: sets name classes that the data set does not have: {unknown[:5]}')
        return {n: [places[m] if isinstance(m, str) else m for m in members] for n, members in self.sets.items()}

    def _summary(self, scores: SemanticScores) -> dict[str, float]:
        summary: dict[str, float] = {
            'mIoU': scores.miou(self.divisor),
            'mIoU_gt': scores.miou_gt,
            'mIoU_gt_or_predicted': scores.miou_gt_or_predicted,
            'classes_gt': scores.classes_gt,
            'classes_gt_or_predicted': scores.classes_gt_or_predicted,
            'fwIoU': scores.frequency_iou,
            'mAcc': scores.mean_accuracy,
            'aAcc': scores.pixel_accuracy,
        }
        for name, values in scores.sets.items():
            summary[f'mIoU-{name}'] = values[f'mIoU_{self.divisor}']
            summary[f'pAcc-{name}'] = values['pAcc']
            if f'hIoU_{self.divisor}' in values:
                summary[f'hIoU-{name}'] = values[f'hIoU_{self.divisor}']
        return summary

    def _log(self, scores: SemanticScores) -> None:
        logger = MMLogger.get_current_instance()
        if self.per_class:
            table = PrettyTable(['Class', 'IoU', 'Acc'])
            rows = zip(self.classes, scores.iou.tolist(), scores.accuracy.tolist(), strict=True)
            table.add_rows([[name, f'{iou:.2f}', f'{accuracy:.2f}'] for name, iou, accuracy in rows])
            print_log(f'per class results:\n{table.get_string()}', logger)
        chosen = {'gt': 'in the ground truth', 'gt_or_predicted': 'in the ground truth or a prediction'}[self.divisor]
        divided = scores.classes_gt if self.divisor == 'gt' else scores.classes_gt_or_predicted
        print_log(f'mIoU {scores.miou(self.divisor):.2f} = sum of IoUs / {divided} classes {chosen}', logger)


def _filled(confusion: Tensor) -> tuple[Tensor, Tensor]:
    """Places and numbers of the entries that are not zero, as narrow as they fit: one picture fills few of K x K."""
    entries = confusion.flatten().cpu()
    where = entries.nonzero()[:, 0]
    counts = entries[where]
    return _narrowed(where), _narrowed(counts)


def _narrowed(numbers: Tensor) -> Tensor:
    fits = not numbers.numel() or int(numbers.max()) < 2**31
    return numbers.int() if fits else numbers
