"""MMSegmentation's metric beside the suite's: the same random label maps, scored by each."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studies.peers.theirs import Run, host_stack

PICTURES = 20


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


def theirs(request: dict[str, Any]) -> Run:
    """MMSegmentation's ``IoUMetric``."""
    host_stack()
    return scored(importlib.import_module('mmseg.evaluation').IoUMetric(), request)


def ours(request: dict[str, Any]) -> Run:
    """The suite's, with the same divisor and without its table."""
    from denseclip.evaluation.semantic import SemanticMetric

    return scored(SemanticMetric(divisor='gt_or_predicted', per_class=False), request)
