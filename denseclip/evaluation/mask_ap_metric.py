"""Average precision of masks through pycocotools, for query-based models on panoptic data sets."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from mmengine.registry import METRICS

from denseclip.evaluation.label_files import results_folder
from denseclip.evaluation.panoptic_metric import to_array
from denseclip.evaluation.picture_metric import Job, PictureMetric
from denseclip.files.atomic import write_text
from denseclip.structures.run_lengths import coco_masks, run_lengths_of_each

if TYPE_CHECKING:
    from pycocotools.coco import COCO

_STATS = ('AP', 'AP_50', 'AP_75', 'AP_s', 'AP_m', 'AP_l')


@METRICS.register_module()
class MaskAPMetric(PictureMetric):
    """COCO's AP of masks, in percent: over IoU 0.50 to 0.95, at 0.50 and 0.75, and of small, medium, large objects.

    MMDetection's ``CocoMetric`` takes class ``i`` of the model for the ``i``-th category of the file, which holds only
    where things come first and in the file's order; here classes go by name.

    Args:
        ann_file: COCO instances file of the same pictures. None: the things of ``gt_panoptic_seg`` are the truth
            (crowds count as crowds).
        output_dir: Folder for the predictions as a COCO results file, ``instances.json``; None writes none.
        keep_results: Must be True where ``output_dir`` is given; the option exists for mmseg's metrics.
        collect_device: See :class:`mmengine.evaluator.BaseMetric`.
        prefix: See there.

    Raises:
        ValueError: If the file lacks a thing class of the data set.
    """

    default_prefix = None

    def __init__(
        self,
        ann_file: str | None = None,
        output_dir: str | Path | None = None,
        keep_results: bool = True,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.output_dir = results_folder(self, output_dir, keep_results)
        self._truth: COCO | None = None
        if ann_file is not None:
            self._truth = _open_coco(ann_file)

    def job(self, sample: Mapping[str, Any]) -> Job:
        """Take in a picture.

        Args:
            sample: Data sample as a dict with ``pred_instances``, ``img_id`` and, without ``ann_file``,
                ``gt_panoptic_seg``.

        Raises:
            ValueError: If it lacks one of these.
        """
        name = sample.get('img_path', 'picture')
        if 'pred_instances' not in sample:
            raise ValueError(
                f"{name}: the data sample has no pred_instances: set model.test_cfg.task='instance' (--task instance)"
            )
        if self._truth is None and 'gt_panoptic_seg' not in sample:
            raise ValueError(
                f'{name}: the data sample has no gt_panoptic_seg: use a panoptic data set with LoadPanopticSegments '
                'and PackPanopticInputs, or name ann_file.'
            )
        found, image = sample['pred_instances'], sample['img_id']
        truth = None if self._truth is not None else sample['gt_panoptic_seg']

        def encode() -> tuple[Any, list[dict[str, Any]], Any]:
            codes = run_lengths_of_each(_masks(found['masks']))
            rows = zip(codes, _list(found['labels']), _list(found['scores']), strict=True)
            predictions = [{'label': int(k), 'score': float(s), 'segmentation': code} for code, k, s in rows]
            return image, predictions, None if truth is None else self._true_objects(truth)

        return encode

    def _true_objects(self, truth: Mapping[str, Any]) -> tuple[tuple[int, int], list[dict[str, Any]]]:
        """Size of the picture and its things, where the truth is not in a file."""
        names, things = self.dataset_meta['classes'], set(self.dataset_meta['thing_classes'])
        ids = to_array(truth['data'])
        listed = [s for s in truth['segments_info'] if names[s['category_id']] in things]
        masks = ids[None] == np.array([s['id'] for s in listed], dtype=ids.dtype)[:, None, None]
        return ids.shape, [
            {'label': s['category_id'], 'iscrowd': int(s['iscrowd']), 'segmentation': code, 'area': int(mask.sum())}
            for s, code, mask in zip(listed, run_lengths_of_each(masks), masks, strict=True)
        ]

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """AP in percent; -1 where there is no object of a kind, as in pycocotools."""
        from pycocotools.cocoeval import COCOeval

        with contextlib.redirect_stdout(io.StringIO()):
            truth = self._truth or _coco_of(results, self._names())
            category_ids = self._category_ids(truth)
            predictions = [
                {
                    'image_id': image,
                    'category_id': category_ids[p['label']],
                    **{k: p[k] for k in ('score', 'segmentation')},
                }
                for image, listed, _ in results
                for p in listed
                if p['label'] in category_ids
            ]
            self._write(predictions)
            if not predictions:
                return dict.fromkeys(_STATS, 0.0 if truth.anns else -1.0)
            evaluation = COCOeval(truth, truth.loadRes([dict(p) for p in predictions]), 'segm')
            evaluation.params.imgIds = [image for image, _, _ in results]
            evaluation.params.catIds = list(category_ids.values())
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        values = evaluation.stats[: len(_STATS)]
        return {n: round(100 * float(v), 4) if v >= 0 else -1.0 for n, v in zip(_STATS, values, strict=True)}

    def _names(self) -> Sequence[str]:
        return self.dataset_meta['classes']

    def _category_ids(self, truth: COCO) -> dict[int, int]:
        """Category id of each thing class by its label."""
        known = {c['name']: c['id'] for c in truth.dataset['categories']}
        things = set(self.dataset_meta['thing_classes'])
        if missing := sorted(things - known.keys()):
            raise ValueError(f'MaskAPMetric: ann_file has no category {", ".join(missing[:10])}; its names differ.')
        return {k: known[name] for k, name in enumerate(self._names()) if name in things}

    def _write(self, predictions: list[dict[str, Any]]) -> None:
        if self.output_dir is not None:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            write_text(self.output_dir / 'instances.json', json.dumps(predictions))


def _open_coco(path: str | None = None) -> COCO:
    """An annotation file, or an empty one to fill; pycocotools comes with MMDetection only."""
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(path)


def _coco_of(results: list[Any], names: Sequence[str]) -> COCO:
    """The truth as pycocotools wants it."""
    coco = _open_coco()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image, _, ((height, width), objects) in results:
        images.append({'id': image, 'height': height, 'width': width})
        for entry in objects:
            box = coco_masks().toBbox(entry['segmentation']).tolist()
            number = len(annotations) + 1
            annotations.append(
                {'id': number, 'image_id': image, 'category_id': entry['label'] + 1, 'bbox': box, **entry}
            )
    categories = [{'id': k, 'name': name} for k, name in enumerate(names, start=1)]
    coco.dataset = {'info': {}, 'images': images, 'annotations': annotations, 'categories': categories}
    coco.createIndex()
    return coco


def _masks(masks: Any) -> np.ndarray:
    return masks.cpu().numpy() if isinstance(masks, torch.Tensor) else np.asarray(masks)


def _list(values: Any) -> list[Any]:
    return values.tolist() if hasattr(values, 'tolist') else list(values)
