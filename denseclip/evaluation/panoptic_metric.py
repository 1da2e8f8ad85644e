"""Panoptic quality as an MMEngine metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import MMLogger
from mmengine.registry import METRICS

from denseclip.evaluation.label_files import OutputNames, results_folder
from denseclip.evaluation.panoptic_files import write_panoptic_json, write_panoptic_png
from denseclip.evaluation.panoptic_quality import PanopticCounts
from denseclip.evaluation.picture_metric import Job, PictureMetric

_COUNTS = ('iou', 'tp', 'fp', 'fn')


@dataclass(frozen=True)
class _Picture:
    """Counts of the classes that a picture has, and its entry in the file of results."""

    labels: np.ndarray
    counts: dict[str, np.ndarray]
    annotation: dict[str, Any] | None

    @classmethod
    def of(cls, counts: PanopticCounts, annotation: dict[str, Any] | None) -> _Picture:
        labels = np.flatnonzero(counts.tp + counts.fp + counts.fn)
        return cls(labels, {name: getattr(counts, name)[labels] for name in _COUNTS}, annotation)


@METRICS.register_module()
class PanopticQualityMetric(PictureMetric):
    """PQ, SQ and RQ over all classes, things (``_th``) and stuff (``_st``), in percent.

    Samples hold ``gt_panoptic_seg`` (see :class:`~denseclip.datasets.transforms.PackPanopticInputs`) and
    ``pred_panoptic_seg`` (see :class:`~denseclip.models.segmentors.mask_results.MaskTasks`) of one size. The data set's
    metainfo names ``classes``, ``thing_classes`` and, for files, ``category_ids``.

    Args:
        classwise: Log a line for each class.
        sets: Named sets of class names, each of which adds ``PQ-NAME``, ``SQ-NAME`` and ``RQ-NAME``.
        output_dir: Folder for the predictions in COCO's panoptic format: ``panoptic/NAME.png`` and ``panoptic.json``,
            as the COCO server takes them; None writes none.
        keep_results: Must be True where ``output_dir`` is given; the option exists for mmseg's metrics.
        collect_device: See :class:`mmengine.evaluator.BaseMetric`.
        prefix: See there.
    """

    default_prefix = None

    def __init__(
        self,
        classwise: bool = False,
        sets: Mapping[str, Sequence[str]] | None = None,
        output_dir: str | Path | None = None,
        keep_results: bool = True,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.classwise, self.sets = classwise, dict(sets or {})
        self.output_dir = results_folder(self, output_dir, keep_results)
        self.output_names = OutputNames()

    def job(self, sample: Mapping[str, Any]) -> Job:
        """Count a picture.

        Args:
            sample: Data sample as a dict.

        Raises:
            ValueError: If it lacks the truth or the prediction.
            PanopticFormatError: If they do not fit together.
        """
        name = sample.get('img_path', 'picture')
        for key, cure in (
            ('gt_panoptic_seg', 'use LoadPanopticSegments and PackPanopticInputs in the pipeline'),
            ('pred_panoptic_seg', "set model.test_cfg.task='panoptic' (--task panoptic)"),
        ):
            if key not in sample:
                raise ValueError(f'{name}: the data sample has no {key}: {cure}')
        counts, annotation = PanopticCounts(len(self._meta('classes'))), self._annotation(sample)
        truth, found = sample['gt_panoptic_seg'], sample['pred_panoptic_seg']

        def count() -> _Picture:
            maps = to_array(truth['data']), to_array(found['data'])
            counts.update(maps[0], truth['segments_info'], maps[1], found['segments_info'])
            return _Picture.of(counts, annotation)

        return count

    def writing(self, sample: Mapping[str, Any]) -> Job | None:
        """Write the PNG of a picture."""
        if self.output_dir is None:
            return None
        target, ids = self.output_dir / 'panoptic' / self._file_name(sample), sample['pred_panoptic_seg']['data']
        return lambda: write_panoptic_png(target, to_array(ids))

    def _file_name(self, sample: Mapping[str, Any]) -> str:
        return f'{self.output_names.stem(sample["img_path"])}.png'

    def _annotation(self, sample: Mapping[str, Any]) -> dict[str, Any] | None:
        """A picture's entry in the JSON file."""
        if self.output_dir is None:
            return None
        category_ids = self.dataset_meta.get('category_ids') or range(len(self._meta('classes')))
        segments = sample['pred_panoptic_seg']['segments_info']
        listed = [{'id': s['id'], 'category_id': int(category_ids[s['category_id']])} for s in segments]
        return {'image_id': sample['img_id'], 'file_name': self._file_name(sample), 'segments_info': listed}

    def _meta(self, key: str) -> Sequence[str]:
        if key not in (self.dataset_meta or {}):
            raise ValueError(f'PanopticQualityMetric: the data set has no metainfo "{key}"; use a panoptic data set.')
        return self.dataset_meta[key]

    def compute_metrics(self, results: list[_Picture]) -> dict[str, float]:
        """The means over the classes that occur, in percent."""
        names, things = self._meta('classes'), set(self._meta('thing_classes'))
        total = PanopticCounts(len(names))
        for picture in results:
            for name, values in picture.counts.items():  # in the order of the pictures, so that sums are the same
                getattr(total, name)[picture.labels] += values
        if self.output_dir is not None:
            annotations = [picture.annotation for picture in results if picture.annotation is not None]
            write_panoptic_json(self.output_dir / 'panoptic.json', annotations)
        if self.classwise:
            MMLogger.get_current_instance().info('\n' + class_table(names, total))
        sets = {key: [self._label(name, names) for name in listed] for key, listed in self.sets.items()}
        means = total.means([name in things for name in names], sets)
        return {name: round(100 * value, 4) for name, value in means.items()}

    @staticmethod
    def _label(name: str, names: Sequence[str]) -> int:
        if name not in names:
            raise ValueError(f"PanopticQualityMetric: sets names '{name}', which is no class of the data set")
        return list(names).index(name)


def class_table(names: Sequence[str], counts: PanopticCounts) -> str:
    """PQ, SQ and RQ of each class that occurs, in percent, as text."""
    room = max(5, *(len(name) for name in names))
    lines = [f'{"class":<{room}}  {"PQ":>6}  {"SQ":>6}  {"RQ":>6}']
    values = counts.per_class()
    for k, name in enumerate(names):
        if not np.isnan(values['PQ'][k]):
            lines.append(f'{name:<{room}}' + ''.join(f'  {100 * values[m][k]:6.2f}' for m in ('PQ', 'SQ', 'RQ')))
    return '\n'.join(lines)


def to_array(data: Any) -> np.ndarray:
    """A map as a NumPy array (H, W), from (1, H, W) or (H, W) of either kind."""
    array = data.detach().cpu().numpy() if isinstance(data, torch.Tensor) else np.asarray(data)
    return array[0] if array.ndim == 3 else array
