"""COCO's AP of boxes and masks, with classes by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmdet.evaluation.metrics import CocoMetric
from mmengine.fileio import get_local_path
from mmengine.logging import MMLogger
from mmengine.registry import METRICS

from denseclip.datasets.named_coco import NamedCOCO


@METRICS.register_module()
class NamedCocoMetric(CocoMetric):
    """MMDetection's ``CocoMetric``, whose class ``i`` is the category called ``classes[i]``, wherever it stands.

    MMDetection takes class ``i`` for the ``i``-th category of the file. In files of results a box has its category's id
    as the annotation file says; a class that the file lacks gets an id that is free there.

    Args:
        ann_file: Annotation file in COCO's format. None: the truth are the data samples' ``instances``.
        backend_args: As of ``CocoMetric``.
        **kwargs: As of ``CocoMetric``.

    Raises:
        UnreadableFileError: The annotation file is missing, cut off, or lacks a key.
        ValueError: Two of its categories have one name (once the classes are known).
    """

    def __init__(self, ann_file: str | None = None, backend_args: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(backend_args=backend_args, **kwargs)
        self._places: np.ndarray | None = None
        if ann_file is not None:
            with get_local_path(ann_file, backend_args=backend_args) as path:
                self._coco_api = NamedCOCO(path)

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Take in a batch.

        Args:
            data_batch: Not used.
            data_samples: Data samples as dicts, with labels in the order of the data set's classes.
        """
        start = len(self.results)
        super().process(data_batch, data_samples)
        if isinstance(self._coco_api, NamedCOCO):
            places = self._sort_categories(self._coco_api)
            for _, found in self.results[start:]:
                found['labels'] = places[found['labels']]

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Scores as ``CocoMetric`` gives them; see there. Where nothing was found at all, AP is 0, not absent."""
        if isinstance(self._coco_api, NamedCOCO):
            self._sort_categories(self._coco_api)
        return dict(super().compute_metrics(results)) or self._scores_of_nothing()

    def _scores_of_nothing(self) -> dict[str, float]:
        """What pycocotools would say without predictions: 0, or -1 where there is nothing to find, either."""
        if self.format_only:
            return {}
        ap = 0.0 if self._coco_api.anns else -1.0
        items = [item for item in ('mAP', 'mAP_50', 'mAP_75') if item in (self.metric_items or [item])]
        return {f'{metric}_{item}': ap for metric in self.metrics if metric in ('bbox', 'segm') for item in items}

    def _sort_categories(self, truth: NamedCOCO) -> np.ndarray:
        """Place of every class among the sorted ids, the order in which pycocotools gives its scores, shape (K,)."""
        if self._places is None:
            names = [str(name) for name in self.dataset_meta['classes']]
            ids = self._complete(truth, names)
            self.cat_ids = sorted(ids)
            for name, cat_id in zip(names, ids, strict=True):  # the table of classes takes no line breaks
                truth.cats[cat_id] = {**truth.cats[cat_id], 'name': _printable(name)}
            self._places = np.array([self.cat_ids.index(cat_id) for cat_id in ids], dtype=np.int64)
        return self._places

    @staticmethod
    def _complete(truth: NamedCOCO, names: list[str]) -> list[Any]:
        """An id for every class; classes that the file lacks become categories without objects."""
        ids = truth.get_cat_ids(cat_names=names)
        lacking = [place for place, cat_id in enumerate(ids) if cat_id is None]
        text = any(isinstance(cat_id, str) for cat_id in truth.cats)
        number = max((int(i) for i in truth.cats if isinstance(i, int | float)), default=0)
        for place in lacking:
            number += 1
            free = f'~{number}' if text else number
            truth.cats[free] = {'id': free, 'name': names[place]}
            ids[place] = free
        if lacking:
            MMLogger.get_current_instance().info(
                f'{truth.source} has no category {", ".join(names[place] for place in lacking)}: AP undefined there'
            )
        return ids


def _printable(name: str) -> str:
    """A name in one line: what cannot be printed as Python's escapes."""
    return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in name)
