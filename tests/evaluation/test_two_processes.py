"""Two processes give the scores, and write the files, of one: for every metric, shared out evenly or not."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import Evaluator
from mmengine.registry import METRICS
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from two_ranks import two_ranks

from denseclip.structures import AnomalyDataSample

NAMES = ('cat', 'grass', 'dog')
META = dict(classes=NAMES, thing_classes=('cat', 'dog'), category_ids=(17, 193, 18))
SIZE = (24, 32)


def picture(index: int) -> Any:
    """Truth and prediction of every kind, different for every index."""
    generator = torch.Generator().manual_seed(index)
    blocks = torch.randint(0, 3, (3, 4), generator=generator)
    labels = blocks.repeat_interleave(8, 0).repeat_interleave(8, 1)
    noise = torch.rand(SIZE, generator=generator)
    guess = torch.where(noise < 0.3, (labels + 1) % 3, labels)
    sample = SegDataSample(metainfo=dict(img_path=f'x/{index:03d}.jpg', img_id=index, ori_shape=SIZE))
    sample.gt_sem_seg, sample.pred_sem_seg = PixelData(data=labels[None]), PixelData(data=guess[None])
    sample.gt_panoptic_seg = panoptic(labels, iscrowd=0)
    sample.pred_panoptic_seg = panoptic(guess, isthing=True)
    masks = torch.stack([guess == k for k in range(3)])
    scores = torch.rand(3, generator=generator)
    sample.pred_instances = InstanceData(masks=masks, labels=torch.arange(3), scores=scores, bboxes=boxes(guess))
    sample.pred_proposals = InstanceData(masks=masks)
    # every second region has no class of the vocabulary, so that one process may have no result at all
    sample.set_metainfo(
        dict(gt_label=-1 if index % 2 else index, caption_group=str(index % 3), window_seams=(index + 1, 100))
    )
    sample.set_metainfo(dict(region_scores=torch.rand(7, generator=generator)))
    for kind in ('image', 'text'):
        embedding = torch.randn(4, generator=generator)
        sample.set_metainfo({f'{kind}_embedding': embedding / embedding.norm()})
    rows = zip(boxes(labels).tolist(), range(3), strict=True)
    listed = [dict(bbox=box, bbox_label=k, ignore_flag=0) for box, k in rows if box[2] > box[0]]
    sample.set_metainfo(dict(instances=listed))
    return sample


def panoptic(labels: torch.Tensor, **entries: Any) -> PixelData:
    listed = [dict(id=k + 1, category_id=k, **entries) for k in labels.unique().tolist()]
    return PixelData(metainfo=dict(segments_info=listed), data=(labels + 1)[None])


def boxes(labels: torch.Tensor) -> torch.Tensor:
    """Box around each class, (3, 4)."""
    found = torch.zeros(3, 4)
    for k in labels.unique().tolist():
        y, x = (labels == k).nonzero(as_tuple=True)
        found[k] = torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1]).float()
    return found


def strange(index: int) -> AnomalyDataSample:
    """A map and a mask; every second picture is normal, categories alternate."""
    rng = np.random.default_rng(index)
    mask = np.zeros(SIZE, np.uint8)
    mask[4 : 9 + index, 5:13] = index % 2 == 0
    mask[20:23, 20:30] = index % 2 == 0
    scores = np.round(rng.random(SIZE) + 0.4 * mask, 2).astype(np.float32)  # rounded, so that there are ties
    sample = AnomalyDataSample(metainfo=dict(img_path=f'x/{index:03d}.png', category=f'part {index // 3}'))
    sample.gt_label, sample.pred_score = int(mask.any()), float(scores.max())
    sample.gt_mask, sample.anomaly_map = PixelData(data=torch.from_numpy(mask)[None]), PixelData(data=scores[None])
    return sample


def metrics(folder: Path) -> dict[str, tuple[dict[str, Any], Callable[[int], Any]]]:
    """Every metric, with the pictures it takes."""
    plain: dict[str, dict[str, Any]] = {
        'IoUMetric': dict(type='mmseg.IoUMetric'),
        'IoUMetricWithFiles': dict(type='IoUMetricWithFiles', output_dir=str(folder / 'iou')),
        'SemanticMetric': dict(type='SemanticMetric', output_dir=folder / 'semantic', sets=dict(base=['cat'])),
        'BoundaryIoUMetric': dict(type='BoundaryIoUMetric', ratio=0.05),
        'PanopticQualityMetric': dict(type='PanopticQualityMetric', output_dir=folder / 'panoptic'),
        'MaskAPMetric': dict(type='MaskAPMetric', output_dir=folder / 'masks'),
        'NamedCocoMetric': dict(type='NamedCocoMetric', metric='bbox', outfile_prefix=str(folder / 'boxes')),
        'ProposalRecallMetric': dict(type='ProposalRecallMetric', sets=dict(base=['cat'])),
        'RegionMetric': dict(type='RegionMetric', top=(1, 2)),
        'PairMetric': dict(type='PairMetric'),
        'WindowSeams': dict(type='WindowSeams'),
    }
    anomaly = {
        f'AnomalyMetric {pixels} {aupro}': dict(
            type='AnomalyMetric', pixels=pixels, aupro=aupro, output_dir=folder / f'{pixels} {aupro}'
        )
        for pixels, aupro in (('exact', 'exact'), ('exact', 'anovl'), ('binned', 'anovl'), ('none', 'exact'))
    }
    return {**{k: (v, picture) for k, v in plain.items()}, **{k: (v, strange) for k, v in anomaly.items()}}


def evaluated(folder: Path, name: str, count: int, *, round_up: bool) -> Any:
    """Scores of this process' share of the pictures, as MMEngine's loop takes them; or what went wrong."""
    config, make = metrics(folder)[name]
    evaluator = Evaluator(METRICS.build(dict(config)))
    evaluator.dataset_meta = META if name != 'RegionMetric' else dict(classes=tuple('abcdefg'))
    indices = list(DefaultSampler(range(count), shuffle=False, round_up=round_up))
    for start in range(0, len(indices), 2):
        evaluator.process([make(index) for index in indices[start : start + 2]])
    return evaluator.evaluate(count)


def everything(folder: Path) -> dict[tuple[str, int, bool], Any]:
    """Scores of every metric over five pictures and over one, with pictures repeated to fill the ranks and without."""
    found: dict[tuple[str, int, bool], Any] = {}
    os.chdir(folder)
    for round_up in (True, False):
        for count in (5, 1):
            for name in metrics(folder):
                place = folder / f'{count} {round_up}'
                place.mkdir(exist_ok=True)
                found[name, count, round_up] = evaluated(place, name, count, round_up=round_up)
    return found


def contents(folder: Path) -> dict[str, bytes]:
    """Files by name, without the truth that MMDetection writes with the time of day."""
    files = [file for file in folder.rglob('*') if file.is_file() and file.name != 'boxes.gt.json']
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_two_processes_equal_one(tmp_path: Path) -> None:
    for name in ('one', 'two', 'meeting'):
        (tmp_path / name).mkdir()
    expected = everything(tmp_path / 'one')
    found, of_other = two_ranks(partial(everything, tmp_path / 'two'), tmp_path / 'meeting')
    assert found.keys() == expected.keys()
    for case, scores in expected.items():
        assert scores and found[case] == pytest.approx(scores, abs=1e-9, nan_ok=True), case
        assert of_other[case] == pytest.approx(scores, abs=1e-9, nan_ok=True), case
    one, two = contents(tmp_path / 'one'), contents(tmp_path / 'two')
    assert one.keys() == two.keys() and not [name for name in one if one[name] != two[name]]
