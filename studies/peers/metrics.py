"""Metrics of MMSegmentation and MMDetection beside the suite's: the same random maps, scored by each."""

from __future__ import annotations

import importlib
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studies.peers.theirs import Run, host_stack

PICTURES = 20
SEGMENTS = 40


def samples(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Label maps with a tenth of the pixels ignored and half of the others right."""
    generator = np.random.default_rng(3)
    shape, count = request['size'], len(request['names'])
    given = []
    for _ in range(PICTURES):
        truth = generator.integers(0, count, shape)
        guess = np.where(generator.random(shape) < 0.5, truth, generator.integers(0, count, shape))
        truth[generator.random(shape) < 0.1] = 255
        maps = (torch.from_numpy(labels)[None] for labels in (guess, truth))
        given.append(dict(zip(('pred_sem_seg', 'gt_sem_seg'), (dict(data=labels) for labels in maps), strict=True)))
    return given


def scored(metric: Any, request: dict[str, Any]) -> Run:
    """A call scores all pictures and gives mIoU, mean and overall accuracy."""
    metric.dataset_meta = dict(classes=tuple(request['names']))
    given = samples(request)

    def run() -> Tensor:
        for sample in given:
            metric.process({}, [sample])
        found = metric.evaluate(len(given))
        return torch.tensor([found[name] for name in ('mIoU', 'mAcc', 'aAcc')]).round(decimals=2)

    metric.process({}, given[:1])  # what a first call sets up is no part of the measurement
    metric.evaluate(1)
    return run


def panoptic_files(request: dict[str, Any]) -> tuple[Path, list[list[dict[str, Any]]]]:
    """Panoptic maps as PNG files, and the segments of truth and prediction of each: cells around random places.

    A predicted cell's middle is a little off, and a tenth of the cells have another class. Both sides write the same.
    """
    from PIL import Image

    generator = np.random.default_rng(4)
    root, (height, width) = Path(request['scratch']), request['size']
    rows, columns = np.mgrid[:height, :width]
    listed = []
    for number in range(PICTURES):
        middles = generator.random((SEGMENTS, 2)) * (height, width)
        classes = generator.integers(0, len(request['names']), SEGMENTS)
        pair = []
        for kind, spread, wrong in (('truth', 0.0, 0.0), ('prediction', 12.0, 0.1)):
            y, x = (middles + generator.normal(0.0, 1.0, middles.shape) * spread).T[..., None, None]
            cells = ((rows - y) ** 2 + (columns - x) ** 2).argmin(axis=0)
            other = generator.integers(0, len(request['names']), SEGMENTS)
            labels = np.where(generator.random(SEGMENTS) < wrong, other, classes)
            folder = root / kind
            folder.mkdir(exist_ok=True)
            ids = 1000 + cells
            colours = np.stack([ids % 256, ids // 256, np.zeros_like(ids)], axis=-1).astype(np.uint8)
            Image.fromarray(colours).save(folder / f'{number}.png')
            present, areas = np.unique(cells, return_counts=True)
            segments = [
                dict(id=1000 + int(n), category_id=int(labels[n]), iscrowd=0, area=int(area))
                for n, area in zip(present, areas, strict=True)
            ]
            pair.append(dict(image_id=number, file_name=f'{number}.png', segments_info=segments))
        listed.append(pair)
    return root, listed


def their_panoptic(request: dict[str, Any]) -> Run:
    """MMDetection's copy of panopticapi's counting, with the two small parts that it takes from panopticapi itself."""
    host_stack()
    module = importlib.import_module('mmdet.evaluation.functional.panoptic_utils')
    root, pairs = panoptic_files(request)
    classes = range(len(request['names']))

    def ids(colours: np.ndarray) -> np.ndarray:
        wide = colours.astype(np.int32)
        return wide[..., 0] + 256 * wide[..., 1] + 256 * 256 * wide[..., 2]

    vars(module).update(PQStat=lambda: defaultdict(lambda: SimpleNamespace(tp=0, fp=0, fn=0, iou=0.0)), rgb2id=ids)

    def run() -> Tensor:
        found = module.pq_compute_single_core(
            0, pairs, str(root / 'truth'), str(root / 'prediction'), dict.fromkeys(classes)
        )
        return torch.tensor([[getattr(found[k], name) for k in classes] for name in ('tp', 'fp', 'fn', 'iou')])

    return run


def our_panoptic(request: dict[str, Any]) -> Run:
    """The suite's counting, of the same files."""
    from PIL import Image

    from denseclip.evaluation.panoptic_quality import PanopticCounts
    from denseclip.structures.panoptic import ids_of_picture

    root, pairs = panoptic_files(request)

    def ids(kind: str, listed: dict[str, Any]) -> np.ndarray:
        with Image.open(root / kind / listed['file_name']) as image:
            return ids_of_picture(image)

    def run() -> Tensor:
        counts = PanopticCounts(len(request['names']))
        for truth, guess in pairs:
            counts.update(ids('truth', truth), truth['segments_info'], ids('prediction', guess), guess['segments_info'])
        return torch.stack([torch.from_numpy(v).float() for v in (counts.tp, counts.fp, counts.fn, counts.iou)])

    return run


def theirs(request: dict[str, Any]) -> Run:
    """MMSegmentation's ``IoUMetric``, or MMDetection's panoptic counts."""
    if request['family'] == 'pq':
        return their_panoptic(request)
    host_stack()
    return scored(importlib.import_module('mmseg.evaluation').IoUMetric(), request)


def ours(request: dict[str, Any]) -> Run:
    """The suite's; of IoU with the same divisor and without its table."""
    if request['family'] == 'pq':
        return our_panoptic(request)
    from denseclip.evaluation.semantic import SemanticMetric

    return scored(SemanticMetric(divisor='gt_or_predicted', per_class=False), request)
