"""AP of detectors whose classes go by name; layouts and orders of classes are in tests/datasets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from denseclip.evaluation.named_coco_metric import NamedCocoMetric

PICTURE = {'id': 1, 'file_name': 'a.jpg', 'height': 32, 'width': 32}
NUT = {'id': 1, 'image_id': 1, 'category_id': 7, 'bbox': [4, 4, 8, 8], 'area': 64, 'iscrowd': 0}


def scores_of_no_prediction(folder: Path, objects: list[dict[str, Any]], **options: Any) -> dict[str, float]:
    file = folder / 'truth.json'
    content = {'images': [PICTURE], 'annotations': objects, 'categories': [{'id': 7, 'name': 'nut'}]}
    file.write_text(json.dumps(content), encoding='utf-8')
    metric = NamedCocoMetric(str(file), metric='bbox', **options)
    metric.dataset_meta = {'classes': ('nut',)}
    nothing = {'bboxes': torch.zeros(0, 4), 'scores': torch.zeros(0), 'labels': torch.zeros(0, dtype=torch.long)}
    metric.process({}, [{'img_id': 1, 'ori_shape': (32, 32), 'pred_instances': nothing}])
    return metric.evaluate(1)


@pytest.mark.parametrize(('objects', 'ap'), [([NUT], 0.0), ([], -1.0)])
def test_without_any_prediction_there_is_a_score(tmp_path: Path, objects: list[dict[str, Any]], ap: float) -> None:
    scores = scores_of_no_prediction(tmp_path, objects)
    assert scores == {'coco/bbox_mAP': ap, 'coco/bbox_mAP_50': ap, 'coco/bbox_mAP_75': ap}


def test_only_the_scores_that_were_asked_for(tmp_path: Path) -> None:
    assert scores_of_no_prediction(tmp_path, [NUT], metric_items=['mAP_50']) == {'coco/bbox_mAP_50': 0.0}


def test_files_alone_have_no_score(tmp_path: Path) -> None:
    options = dict(format_only=True, outfile_prefix=str(tmp_path / 'found'))
    assert scores_of_no_prediction(tmp_path, [NUT], **options) == {}
