"""MMSegmentation's IoU metric for ``tools/test.py --out``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import MMLogger
from mmengine.registry import METRICS
from mmseg.evaluation.metrics import IoUMetric

from denseclip.evaluation.label_files import OutputNames, label_map_job
from denseclip.evaluation.picture_metric import Job, PictureMetric


@METRICS.register_module()
class IoUMetricWithFiles(PictureMetric, IoUMetric):
    """``IoUMetric`` whose label maps are whole or absent, have 16 bits beyond 256 classes, and names of their own.

    Pictures in different folders may share a name. Pictures without labels get files and no score. Arguments and scores
    are those of ``IoUMetric``.
    """

    def __init__(self, *args: Any, output_dir: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # without the folder: the base class would write, too
        self.output_names = OutputNames()
        self._folder = output_dir

    def job(self, sample: Mapping[str, Any]) -> Job:
        """Areas of a picture's classes; nothing where it has no labels."""
        count, ignored = len(self.dataset_meta['classes']), self.ignore_index
        if self.format_only or 'gt_sem_seg' not in sample:
            return lambda: None
        labels, truth = (sample[key]['data'].squeeze() for key in ('pred_sem_seg', 'gt_sem_seg'))
        return lambda: self.intersect_and_union(labels, truth.to(labels), count, ignored)

    def writing(self, sample: Mapping[str, Any]) -> Job | None:
        """Write a picture's label map."""
        if self._folder is None:
            return None
        return label_map_job(sample, len(self.dataset_meta['classes']), Path(self._folder), self.output_names)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Scores of the pictures with labels; none without such."""
        if self.format_only:
            return {}
        results = [areas for areas in results if areas is not None]
        if not any(float(labels.sum()) for *_, labels in results):
            MMLogger.get_current_instance().warning('no pixel has a label: label maps are written, nothing is scored')
            return {}
        return super().compute_metrics(results)
