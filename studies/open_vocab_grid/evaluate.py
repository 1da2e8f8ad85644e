"""Evaluate one cell so that killing the process at any time loses no more than the last few pictures."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmseg.evaluation.metrics import IoUMetric
from torch.utils.data import DataLoader, Subset

from denseclip.compat.logs import quiet
from denseclip.engine.benchmark.memory import high_water_bytes
from denseclip.engine.checkpoints import load_weights, read_training_file
from denseclip.evaluation.boundary import boundary_counts, mean_boundary_iou
from denseclip.files.atomic import write_text
from denseclip.models.functional.open_vocab import region_labels
from denseclip.recipes import ignored_label

from .cells import Cell

RUNNING, DONE, FAILED, IMPOSSIBLE = 'running', 'done', 'failed', 'impossible'
"""States of a cell; impossible: its tower cannot be read as the method reads it."""
_AREAS = ('intersect', 'union', 'prediction', 'label')
_BANDS = ('boundary intersect', 'boundary label', 'boundary prediction')
_FORMAT = 2


@dataclass(frozen=True)
class Progress:
    """How far a cell has come; the content of its file.

    Attributes:
        identity: Of the cell, see :attr:`Cell.identity`.
        status: ``'running'``, ``'done'``, ``'failed'`` or ``'impossible'``.
        done: Pictures that are counted.
        total: Pictures of the set, after ``limit``.
        seconds: Time spent on counted pictures, loading and text left out.
        peak_bytes: Most memory of the process, or of the GPU's allocator.
        areas: Pixels per class: of intersection, union, prediction and label, over the counted pictures; and in
            the bands along edges of both, of the label and of the prediction.
        seams: Pixels that two windows label differently, and pixels that two windows see; models count them where
            ``test_cfg.seams`` is set.
        scores: ``mIoU``, ``aAcc``, ``mAcc`` and ``mBIoU`` (boundary IoU) in percent; empty until done.
        class_iou: IoU per class in percent, None for classes that never occur; empty until done.
        error: Why it failed, or why it cannot be.
        device: Where it ran.
    """

    identity: str
    status: str = RUNNING
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    areas: Mapping[str, list[float]] = field(default_factory=dict)
    seams: Sequence[int] = (0, 0)
    scores: Mapping[str, float] = field(default_factory=dict)
    class_iou: Mapping[str, float | None] = field(default_factory=dict)
    error: str = ''
    device: str = 'cpu'

    @classmethod
    def read(cls, path: Path, identity: str) -> Progress:
        """What a file holds about a cell; a fresh start if there is none or it belongs to other settings."""
        try:
            content = json.loads(path.read_text(encoding='utf-8'))
        except (OSError, ValueError):
            return cls(identity)
        if not isinstance(content, dict):
            return cls(identity)
        known = content.pop('format', None) == _FORMAT and content.get('identity') == identity
        content.pop('cell', None)
        return cls(**content) if known else cls(identity)

    @staticmethod
    def belongs(path: Path, identity: str) -> bool:
        """Whether a file is of the cell with these settings and weights."""
        try:
            content = json.loads(path.read_text(encoding='utf-8'))
        except (OSError, ValueError):
            return False
        return isinstance(content, dict) and content.get('identity') == identity

    def write(self, path: Path, cell: Cell) -> None:
        """Replace the file, all or nothing."""
        described = {name: getattr(cell, name) for name in ('preset', 'set_name', 'protocol', 'weights', 'checkpoint')}
        content = {'format': _FORMAT, 'cell': {**described, 'limit': cell.limit}, **asdict(self)}
        write_text(path, json.dumps(content, indent=1) + '\n')


def evaluate_cell(
    cell: Cell,
    path: Path,
    *,
    device: torch.device | str = 'cpu',
    num_workers: int = 0,
    save_every: float = 20.0,
    tick: Callable[[int, int], None] | None = None,
    parent: int | None = None,
) -> Progress:
    """Run a cell from where its file says it was left.

    Pictures are counted one by one in the data set's order and pixels are added as whole numbers, so that an
    interrupted evaluation ends with the very numbers of an uninterrupted one.

    Args:
        cell: The cell.
        path: Its file; written at the start, every ``save_every`` seconds and at the end.
        device: Where the model runs.
        num_workers: Processes that read pictures.
        save_every: Seconds between saves; 0 saves after every picture.
        tick: Called after each picture with the number of counted pictures and the total.
        parent: Process on whose behalf this runs: when it is gone, this stops instead of writing beside its successor.

    Returns:
        The finished state, also in the file.
    """
    init_default_scope('mmseg')
    dataset = DATASETS.build(dict(cell.config['test_dataloader']['dataset']))
    classes = list(dataset.metainfo['classes'])
    total = len(dataset) if cell.limit is None else min(cell.limit, len(dataset))
    state = replace(Progress.read(path, cell.identity), status=RUNNING, error='', total=total, device=str(device))
    names = (*_AREAS, *_BANDS)
    areas = np.array([state.areas.get(name, [0.0] * len(classes)) for name in names])

    def save(status: str = RUNNING) -> None:
        nonlocal state
        if parent is not None and os.getppid() != parent:
            raise SystemExit('the process that asked for this evaluation is gone')
        named = {name: row.tolist() for name, row in zip(names, areas, strict=True)}
        state = replace(state, status=status, areas=named, peak_bytes=max(state.peak_bytes, _peak(device)))
        state.write(path, cell)

    save()
    rest = Subset(dataset, range(state.done, total))
    if torch.device(device).type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
    if len(rest):
        model = _ready_model(cell, dataset, device)
        saved = time.monotonic()
        for batch in DataLoader(rest, batch_size=1, num_workers=num_workers, collate_fn=pseudo_collate):
            started = time.perf_counter()
            found, maps, pairs = _areas(model, batch, len(classes), cell.oracle)
            spent = time.perf_counter() - started  # what edges cost is none of the method's time
            areas += np.concatenate([found, boundary_counts(*maps, len(classes), ignored_label(len(classes)))])
            seams = [before + now for before, now in zip(state.seams, pairs, strict=True)]
            state = replace(state, done=state.done + 1, seconds=state.seconds + spent, seams=seams)
            if tick is not None:
                tick(state.done, total)
            if time.monotonic() - saved >= save_every and state.done < total:
                save()
                saved = time.monotonic()
    scores, class_iou = score(areas, classes)
    state = replace(state, scores=scores, class_iou=class_iou)
    save(DONE)
    return state


def score(areas: np.ndarray, classes: list[str]) -> tuple[dict[str, float], dict[str, float | None]]:
    """Scores, as mmseg takes them, from summed pixels.

    Args:
        areas: Intersection, union, prediction and label, and the bands of :func:`boundary_counts`, shape (7, K).
        classes: Names of the K classes.

    Returns:
        ``mIoU``, ``aAcc``, ``mAcc`` and ``mBIoU`` in percent, rounded as mmseg does; and the IoU of each class.
    """
    found = IoUMetric.total_area_to_metrics(*torch.from_numpy(areas[:4]), metrics=['mIoU'])
    iou, accuracy = (np.asarray(found[key], dtype=np.float64) * 100 for key in ('IoU', 'Acc'))
    scores = {'mIoU': _mean(iou), 'aAcc': round(float(found['aAcc']) * 100, 2), 'mAcc': _mean(accuracy)}
    scores['mBIoU'] = round(mean_boundary_iou(areas[4:]), 2)
    values = [None if np.isnan(value) else round(float(value), 4) for value in iou]
    return scores, dict(zip(classes, values, strict=True))


def _mean(values: np.ndarray) -> float:
    present = values[~np.isnan(values)]
    return round(float(present.mean()), 2) if len(present) else float('nan')


def _areas(
    model: Any, batch: Mapping[str, Any], num_classes: int, oracle: str | None = None
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], Sequence[int]]:
    """Pixels per class of one picture, (4, K), whole numbers; its label maps, found and true; pixels at seams.

    ``oracle``: what its labels give away.
    """
    if oracle == 'classes':
        seen = batch['data_samples'][0].gt_sem_seg.data.unique()
        model.offered = torch.isin(torch.arange(num_classes), seen.cpu())[: len(model.text.names)]
    with torch.inference_mode():
        sample = model.test_step(batch)[0]
    prediction = sample.pred_sem_seg.data.squeeze(0)
    label = sample.gt_sem_seg.data.squeeze(0).to(prediction)
    ignored = ignored_label(num_classes)
    if oracle == 'masks':
        prediction = region_labels(prediction, torch.where(label == ignored, -1, label), num_classes)
    found = IoUMetric.intersect_and_union(prediction, label, num_classes, ignore_index=ignored)
    areas = np.stack([np.asarray(row.cpu(), dtype=np.float64) for row in found])
    seams = sample.metainfo.get('window_seams', (0, 0))
    return areas, (prediction.cpu().numpy(), label.cpu().numpy()), seams


def _ready_model(cell: Cell, dataset: Any, device: torch.device | str) -> Any:
    """The model with its weights, on its device, its text encoded.

    Raises:
        NoReadOutError: If the tower has no such read-out.
    """
    torch.manual_seed(0)  # fresh weights are the same in every run
    model = MODELS.build(dict(cell.config['model']))
    with quiet():
        model.init_weights()
    if cell.checkpoint is not None:
        checkpoint = read_training_file(cell.checkpoint)
        load_weights(model, checkpoint['state_dict'], source=cell.checkpoint, strict=True)
    model.dataset_meta = dataset.metainfo
    model = model.to(device).eval()
    with torch.inference_mode():
        model.class_embeddings()
    return model


def _peak(device: torch.device | str) -> int:
    if torch.device(device).type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    return high_water_bytes()
