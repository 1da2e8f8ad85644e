"""The semantic metric for large vocabularies: both mIoUs, the divisor named, 16-bit labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log
from mmengine.registry import METRICS
from prettytable import PrettyTable
from torch import Tensor

from denseclip.recipes import ignored_label

from .confusion import DIVISORS, SemanticScores, confusion_matrix, scores_of_confusion
from .label_files import OutputNames, write_label_map


@METRICS.register_module()
class SemanticMetric(BaseMetric):
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
        output_dir: Folder for predicted label maps (16 bits beyond 256 classes); None writes none. With it, pictures
            without labels are taken, and not scored.
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

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Take in a batch of predictions.

        Args:
            data_batch: Not used.
            data_samples: Data samples as dicts with ``pred_sem_seg`` and ``gt_sem_seg``.
        """
        count = len(self.classes)
        ignored = ignored_label(count) if self.ignore_index is None else self.ignore_index
        for sample in data_samples:
            prediction = sample['pred_sem_seg']['data'].squeeze(0)
            if self.output_dir is not None:
                target = self.output_dir / f'{self.output_names.stem(sample["img_path"])}.png'
                write_label_map(prediction.cpu().numpy(), count, target)
            if self.keep_results and 'gt_sem_seg' not in sample and self.output_dir is not None:
                # Processes must have equally many results; these counts add nothing.
                self.results.append((torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long)))
            elif self.keep_results:
                truth = sample['gt_sem_seg']['data'].squeeze(0).to(prediction.device)
                # Few of the K x K entries are filled by one picture; only those travel between processes.
                counts = confusion_matrix(prediction, truth, count, ignored).flatten()
                where = counts.nonzero()[:, 0]
                self.results.append((where.cpu(), counts[where].cpu()))

    def compute_metrics(self, results: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Scores of all pictures."""
        if not any(len(where) for where, _ in results):
            if self.output_dir is not None:
                print_log(
                    'no pixel has a label: label maps are written, nothing is scored', MMLogger.get_current_instance()
                )
            return {}
        side = len(self.classes) + 1
        where, counts = (torch.cat(parts) for parts in zip(*results, strict=True))
        confusion = torch.zeros(side * side, dtype=torch.long).index_add_(0, where, counts).view(side, side)
        self.scores = scores_of_confusion(confusion, self._set_indices())
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
