"""The measures as an MMEngine metric: per category, their mean, files beside the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_world_size
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmengine.registry import METRICS
from PIL import Image

from denseclip.evaluation.anomaly.binned import DEFAULT_BINS, BinnedPixels
from denseclip.evaluation.anomaly.measures import AP_MODES, AUPRO_MODES, image_measures, pixel_measures
from denseclip.evaluation.anomaly.pixels import ExactPixels, PixelScores, check_pair
from denseclip.evaluation.anomaly.table import ResultTable
from denseclip.evaluation.label_files import OutputNames, results_folder, write_picture
from denseclip.files.atomic import write_text

PIXEL_MODES = ('exact', 'binned', 'none')
NO_CATEGORY = 'all'


@dataclass(frozen=True)
class _Picture:
    """What is kept of one picture; map and mask in exact mode only."""

    name: str
    category: str
    label: int
    score: float
    has_mask: bool
    size: tuple[int, ...]
    anomaly_map: np.ndarray | None = None
    mask: np.ndarray | None = None


@METRICS.register_module()
class AnomalyMetric(BaseMetric):
    """AUROC, AP and best F1 of pictures and pixels, and AUPRO: per category, and their unweighted mean in percent.

    Samples are :class:`~denseclip.structures.AnomalyDataSample`; ``category`` of their metainfo groups them. A map and
    its mask must have one size. Measures that are not defined (no anomalous picture, no normal one, no mask) are NaN,
    left out of the mean, and named in the log.

    Args:
        pixels: ``'exact'`` keeps all scores; ``'binned'`` counts them in ``bins`` bins, so that memory does not grow
            with the data (equal to about 1e-5); ``'none'`` measures pictures only.
        bins: Most bins per category.
        aupro: ``'exact'``, or ``'anovl'`` for the 200 thresholds of AnoVL's script.
        aupro_limit: Upper end of AUPRO's false-positive rate.
        image_ap: ``'step'``, or ``'trapezoid'`` for what AnoVL's script prints.
        out: File without suffix to which the table is written as ``.txt``, ``.csv`` and ``.json``; None writes none.
        output_dir: Folder for the raw maps, ``CATEGORY/test/DEFECT/NAME.tiff`` (float32), as MVTec AD's own evaluation
            reads them; None writes none.
        keep_results: Must be True where ``output_dir`` is given; the option exists for mmseg's metrics.
        collect_device: See :class:`mmengine.evaluator.BaseMetric`.
        prefix: See there.

    Raises:
        ValueError: If a mode is unknown.
    """

    default_prefix = None

    def __init__(
        self,
        pixels: str = 'exact',
        bins: int = DEFAULT_BINS,
        aupro: str = 'exact',
        aupro_limit: float = 0.3,
        image_ap: str = 'step',
        out: str | Path | None = None,
        output_dir: str | Path | None = None,
        keep_results: bool = True,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        for value, choices, what in (
            (pixels, PIXEL_MODES, 'pixels'),
            (aupro, AUPRO_MODES, 'aupro'),
            (image_ap, AP_MODES, 'image_ap'),
        ):
            if value not in choices:
                raise ValueError(f'AnomalyMetric: {what}={value!r} is unknown; choose from {", ".join(choices)}')
        self.pixels, self.bins = pixels, bins
        self.aupro, self.aupro_limit, self.image_ap = aupro, aupro_limit, image_ap
        self.out = None if out is None else Path(out)
        self.output_dir = results_folder(self, output_dir, keep_results)
        self.output_names = OutputNames()
        self._binned: dict[str, BinnedPixels] = {}
        self.table: ResultTable | None = None

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Take in a batch of predictions.

        Args:
            data_batch: Not used.
            data_samples: Data samples as dicts, as MMEngine's evaluator passes them.

        Raises:
            ValueError: If a sample has no label or no score, or map and mask do not fit.
        """
        for sample in data_samples:
            self.results.append(self._picture(sample))

    def _picture(self, sample: Mapping[str, Any]) -> _Picture:
        name = str(sample.get('img_path') or f'picture {len(self.results) + 1}')
        for key, cure in (('gt_label', 'its data set has no labels'), ('pred_score', 'the model predicted nothing')):
            if sample.get(key) is None:
                raise ValueError(f'{name}: the data sample has no {key}: {cure}')
        category = str(sample.get('category') or NO_CATEGORY)
        label, score = int(sample['gt_label']), float(sample['pred_score'])
        if not np.isfinite(score):
            raise ValueError(f'{name}: its score is {score}')
        if self.output_dir is not None:
            self._write_map(self.output_dir, sample, category, name)
        truth, size, scores, mask = sample.get('gt_mask'), (), None, None
        if self.pixels != 'none' and truth is not None:
            scores, mask = check_pair(_plane(sample['anomaly_map']), _plane(truth), name)
            size = scores.shape
            if self.pixels == 'binned':
                self._binned.setdefault(category, BinnedPixels(self.bins)).add(scores, mask)
                scores = mask = None
        return _Picture(name, category, label, score, truth is not None, size, scores, mask)

    def _write_map(self, folder: Path, sample: Mapping[str, Any], category: str, name: str) -> None:
        defect = str(sample.get('defect_type') or ('anomalous' if sample['gt_label'] else 'good'))
        target = folder / category / 'test' / defect / f'{self.output_names.stem(name)}.tiff'
        write_picture(Image.fromarray(_plane(sample['anomaly_map']).astype(np.float32)), target)

    def evaluate(self, size: int) -> dict[str, float]:
        """Measure; see :class:`mmengine.evaluator.BaseMetric`.

        Raises:
            ValueError: If bins hold pictures twice because the sampler repeats some to fill up the last batch.
        """
        if self.pixels == 'binned' and get_world_size() > 1:
            parts = all_gather_object((len(self.results), self._binned))
            if sum(count for count, _ in parts) > size:
                raise ValueError(
                    'the sampler repeats pictures, and what was counted in bins cannot be taken out again: set '
                    "round_up=False in test_dataloader.sampler, or pixels='exact'"
                )
            self._binned = _merged([binned for _, binned in parts], self.bins)
        metrics = super().evaluate(size)
        self._binned = {}
        return metrics

    def compute_metrics(self, results: list[_Picture]) -> dict[str, float]:
        """The means in percent; the table is logged, kept as ``table``, and written where ``out`` says."""
        logger = MMLogger.get_current_instance()
        rows: dict[str, dict[str, float]] = {}
        sizes: set[tuple[int, ...]] = set()
        for category in sorted({picture.category for picture in results}):
            pictures = [picture for picture in results if picture.category == category]
            sizes.update(picture.size for picture in pictures if picture.size)
            scores, labels = [p.score for p in pictures], [p.label for p in pictures]
            rows[category] = {
                **image_measures(np.array(scores), np.array(labels), self.image_ap),
                **pixel_measures(self._collected(category, pictures), self.aupro, self.aupro_limit),
            }
        self.table = ResultTable(rows, self._protocol(sizes))
        logger.info('\n' + self.table.text())
        for measure, names in self.table.undefined().items():
            logger.warning(f'{measure} is not defined for {", ".join(names)} and left out of the mean')
        if self.out is not None:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            for suffix, text in (
                ('.txt', self.table.text() + '\n'),
                ('.csv', self.table.csv()),
                ('.json', self.table.json()),
            ):
                write_text(self.out.with_name(self.out.name + suffix), text)
        return self.table.percent()

    def _collected(self, category: str, pictures: Sequence[_Picture]) -> PixelScores | None:
        """All pixels of a category, or None where they are not measured or a defective picture has no mask."""
        if self.pixels == 'none' or not any(picture.has_mask for picture in pictures):
            return None
        if any(picture.label and not picture.has_mask for picture in pictures):
            return None
        if self.pixels == 'binned':
            return self._binned[category]
        collector = ExactPixels()
        for picture in pictures:
            if picture.anomaly_map is not None and picture.mask is not None:
                collector.add(picture.anomaly_map, picture.mask)
        return collector

    def _protocol(self, sizes: set[tuple[int, ...]]) -> dict[str, str]:
        shown = ', '.join('x'.join(map(str, size)) for size in sorted(sizes)[:3]) + (' ...' if len(sizes) > 3 else '')
        return {
            'pixels': self.pixels if self.pixels != 'binned' else f'binned ({self.bins})',
            'measured at': shown or 'no pixels',
            'AUPRO': f'{self.aupro}, limit {self.aupro_limit:g}',
            'image AP': self.image_ap,
        }


def _merged(parts: Sequence[Mapping[str, BinnedPixels]], bins: int) -> dict[str, BinnedPixels]:
    merged: dict[str, BinnedPixels] = {}
    for part in parts:
        for category, collector in part.items():
            merged.setdefault(category, BinnedPixels(bins)).merge(collector)
    return merged


def _plane(value: Any) -> np.ndarray:
    """An array (H, W) from PixelData as a dict, a tensor or an array of shape (1, H, W) or (H, W)."""
    data = value['data'] if isinstance(value, Mapping) else getattr(value, 'data', value)
    array = data.detach().cpu() if isinstance(data, torch.Tensor) else data
    if isinstance(array, torch.Tensor):
        array = (array.float() if array.dtype in (torch.float16, torch.bfloat16) else array).numpy()
    array = np.asarray(array)
    return array[0] if array.ndim == 3 and array.shape[0] == 1 else array
