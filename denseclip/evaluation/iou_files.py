"""MMSegmentation's IoU metric for ``tools/test.py --out``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MMLogger
from mmengine.registry import METRICS
from mmseg.evaluation.metrics import IoUMetric

from denseclip.evaluation.label_files import OutputNames, write_label_map


@METRICS.register_module()
class IoUMetricWithFiles(IoUMetric):
    """``IoUMetric`` whose label maps are whole or absent, have 16 bits beyond 256 classes, and names of their own.

    Pictures in different folders may share a name. Pictures without labels get files and no score. Arguments and scores
    are those of ``IoUMetric``.
    """

    def __init__(self, *args: Any, output_dir: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # without the folder: the base class would write, too
        self.output_names = OutputNames()
        self._folder = output_dir

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Take in a batch: write every prediction, score those with labels."""
        for sample in data_samples:
            if self._folder is not None:
                self._write(sample, Path(self._folder))
            if 'gt_sem_seg' in sample:
                super().process(data_batch, [sample])
            elif not self.format_only:
                # Processes must have equally many results; these areas add nothing.
                self.results.append((torch.zeros(len(self.dataset_meta['classes'])),) * 4)

    def _write(self, sample: Mapping[str, Any], folder: Path) -> None:
        labels = sample['pred_sem_seg']['data'].squeeze(0).cpu().numpy()
        shift = int(bool(sample.get('reduce_zero_label', False)))  # as IoUMetric: ids of the files start at 1
        target = folder / f'{self.output_names.stem(sample["img_path"])}.png'
        write_label_map(labels + shift, len(self.dataset_meta['classes']) + shift, target)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Scores of the pictures with labels; none without such."""
        if not self.format_only and not any(float(labels.sum()) for *_, labels in results):
            MMLogger.get_current_instance().warning('no pixel has a label: label maps are written, nothing is scored')
            return {}
        return super().compute_metrics(results)
