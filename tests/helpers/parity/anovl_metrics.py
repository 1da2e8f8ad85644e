"""Checks of the anomaly measures and of the lists of files that the authors' tools make."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from denseclip.datasets import MVTecADDataset, VisADataset
from denseclip.datasets.converters import anomaly_meta
from denseclip.evaluation.anomaly import (
    ExactPixels,
    aupro,
    aupro_200,
    check_pair,
    image_measures,
    label_regions,
    pixel_measures,
)

from .fixtures import Fixture
from .registry import consumes

TOLERANCE = 1e-6
"""As the manifest says, in words, for everything that our measures reproduce."""

OTHERS = ('anomalib.', 'torchmetrics.')
"""Other programs' definitions; where they agree with ours is what their tolerance, 1e-5, is for."""


def collect(maps: np.ndarray, masks: np.ndarray) -> ExactPixels:
    pixels = ExactPixels()
    for scores, mask in zip(maps, masks, strict=True):
        pixels.add(*check_pair(scores, mask))
    return pixels


def all_measures(maps: np.ndarray, masks: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Every value of a case that we claim to reproduce, under the fixture's names."""
    pixels, labels = collect(maps, masks), masks.any(axis=(1, 2))
    found, picture = pixel_measures(pixels), image_measures(scores, labels)
    curve = pixels.curve()
    return {
        'ref.auroc_px': found['pixel_AUROC'],
        'ref.ap_px': found['pixel_AP'],
        'ref.f1_px': found['pixel_F1max'],
        'ref.aupro_f32': aupro_200(pixels),
        'ref.aupro_f64': aupro_200(collect(maps.astype(np.float64), masks)),
        'exact.aupro': found['AUPRO'],
        'exact.aupro_limit_0.05': aupro(curve, 0.05),
        'ref.auroc_sp': picture['image_AUROC'],
        'ref.f1_sp': picture['image_F1max'],
        'ref.aupr_sp(trapezoid)': image_measures(scores, labels, ap='trapezoid')['image_AP'],
        'aprilgan.ap_sp(average_precision)': picture['image_AP'],
        'n_regions.skimage_default': curve.num_regions,
        'n_regions.cv2': curve.num_regions,
        'n_regions.kornia': curve.num_regions,
        'anomalib.AUROC_px': found['pixel_AUROC'],
        'anomalib.F1Max_px': found['pixel_F1max'],
        'torchmetrics.BinaryAUROC': found['pixel_AUROC'],
        'torchmetrics.BinaryAveragePrecision': found['pixel_AP'],
    }


def expect_value(name: str, value: float, reference: Any) -> None:
    """A number at its tolerance; where the authors' code fails or gives NaN, ours is NaN."""
    if not isinstance(reference, int | float) or math.isnan(reference):
        assert math.isnan(value), f'{name}: {value}, where the reference says {reference!r}'
        return
    tolerance = 1e-5 if name.startswith(OTHERS) else TOLERANCE
    assert abs(value - reference) <= tolerance, f'{name}: {value} != {reference}'


@consumes('anovl', 'metrics')
def check_metrics(fixture: Fixture) -> None:
    for case, references in fixture.config['metrics'].items():
        maps, masks, scores = (fixture.input(f'{case}.{name}').numpy() for name in ('preds', 'masks', 'image_scores'))
        for name, value in all_measures(maps, masks, scores).items():
            expect_value(name, value, references[name])
        labels = torch.from_numpy(label_regions(masks)).to(torch.int16)
        expected = fixture.tensors[f'out.{case}.components_anomalib_cpu']
        assert torch.equal(labels, expected)
        fixture.compared.add(f'out.{case}.components_anomalib_cpu')


@consumes('anovl', 'dataset_meta')
def check_dataset_meta(fixture: Fixture) -> None:
    """The file lists of MVTec AD and VisA, from trees of empty files."""
    mvtec, visa = fixture.manifest['mvtec'], fixture.manifest['visa']
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / 'mvtec'
        for name in mvtec['files']:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        table = Path(folder) / 'visa' / 'split_csv' / '1cls.csv'
        table.parent.mkdir(parents=True)
        table.write_text(visa['csv'], encoding='utf-8')
        for kind, place, expected in ((MVTecADDataset, root, mvtec), (VisADataset, table.parents[1], visa)):
            splits = [
                kind(place, split=split, categories=expected['classes'], lazy_init=True) for split in expected['meta']
            ]
            assert anomaly_meta(splits) == expected['meta']
