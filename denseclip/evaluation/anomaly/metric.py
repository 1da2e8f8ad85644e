"""The measures as an MMEngine metric: per category, their mean, files beside the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_world_size
from mmengine.logging import MMLogger
from mmengine.registry import METRICS
from PIL import Image

from denseclip.evaluation.anomaly.binned import DEFAULT_BINS, BinnedPixels
from denseclip.evaluation.anomaly.measures import AP_MODES, AUPRO_MODES, image_measures, pixel_measures
from denseclip.evaluation.anomaly.pixels import ExactPixels, PixelScores, check_pair
from denseclip.evaluation.anomaly.shared import SharedPixels
from denseclip.evaluation.anomaly.table import ResultTable
from denseclip.evaluation.label_files import OutputNames, results_folder, write_picture
from denseclip.evaluation.picture_metric import Job, PictureMetric, interleaved
from denseclip.files.atomic import write_text

PIXEL_MODES = ('exact', 'binned', 'none')
NO_CATEGORY = 'all'


_Pixels = ExactPixels | BinnedPixels


@dataclass(frozen=True)
class _Picture:
    """What is kept of one picture; its pixels until they are joined with those of its category."""

    name: str
    category: str
    label: int
    score: float
    has_mask: bool
    size: tuple[int, ...]
    pixels: _Pixels | None = None


@METRICS.register_module()
class AnomalyMetric(PictureMetric):
    """AUROC, AP and best F1 of pictures and pixels, and AUPRO: per category, and their unweighted mean in percent.

    Samples are :class:`~denseclip.structures.AnomalyDataSample`; ``category`` of their metainfo groups them. A map and
    its mask must have one size. Measures that are not defined (no anomalous picture, no normal one, no mask) are NaN,
    left out of the mean, and named in the log.

    Args:
        pixels: ``'exact'`` keeps all scores, those of normal pixels in the process that made them; ``'binned'`` counts
            scores in ``bins`` bins, so that memory does not grow with the data (equal to about 1e-5); ``'none'``
            measures pictures only.
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
        self._pixels: dict[str, _Pixels] = {}
        self._measures: dict[str, dict[str, float]] = {}
        self.table: ResultTable | None = None

    def job(self, sample: Mapping[str, Any]) -> Job:
        """Take in a prediction.

        Args:
            sample: Data sample as a dict.

        Raises:
            ValueError: If it has no label or no score, or map and mask do not fit.
        """
        name = str(sample.get('img_path') or f'picture {self._taken}')
        for key, cure in (('gt_label', 'its data set has no labels'), ('pred_score', 'the model predicted nothing')):
            if sample.get(key) is None:
                raise ValueError(f'{name}: the data sample has no {key}: {cure}')
        label, score, truth = int(sample['gt_label']), float(sample['pred_score']), sample.get('gt_mask')
        if not np.isfinite(score):
            raise ValueError(f'{name}: its score is {score}')
        picture = _Picture(name, _category(sample), label, score, truth is not None, ())
        if self.pixels == 'none' or truth is None:
            return lambda: picture
        found = sample['anomaly_map']

        def collect() -> _Picture:
            scores, mask = check_pair(_plane(found), _plane(truth), name)
            pixels = self._collector()
            pixels.add(scores, mask)
            return replace(picture, size=scores.shape, pixels=pixels)

        return collect

    def writing(self, sample: Mapping[str, Any]) -> Job | None:
        """Write a picture's raw map."""
        if self.output_dir is None:
            return None
        defect = str(sample.get('defect_type') or ('anomalous' if sample['gt_label'] else 'good'))
        stem, found = self.output_names.stem(str(sample['img_path'])), sample['anomaly_map']
        target = self.output_dir / _category(sample) / 'test' / defect / f'{stem}.tiff'
        return lambda: write_picture(Image.fromarray(_plane(found).astype(np.float32)), target)

    def _collector(self) -> _Pixels:
        return BinnedPixels(self.bins) if self.pixels == 'binned' else ExactPixels()

    def fold(self, results: list[_Picture]) -> list[_Picture]:
        """Pictures, whose pixels are joined with those of their category."""
        for picture in results:
            if picture.pixels is not None:
                joined: Any = self._pixels.setdefault(picture.category, self._collector())
                joined.merge(picture.pixels)
        return [picture if picture.pixels is None else replace(picture, pixels=None) for picture in results]

    def travelling(self, results: list[_Picture]) -> list[_Picture]:
        """The pictures without their pixels; what these say is counted by all processes together."""
        results = self.fold(results)
        everyone = interleaved(all_gather_object(results))
        self._measures = {}
        for category in sorted({picture.category for picture in everyone}):
            pixels = self._collected(category, [picture for picture in everyone if picture.category == category])
            self._measures[category] = pixel_measures(pixels, self.aupro, self.aupro_limit)
        self._pixels = {}
        return results

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
                **self._measures[category],
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
        own = self._pixels.get(category) or self._collector()
        if get_world_size() == 1:
            return own
        if isinstance(own, ExactPixels):
            return SharedPixels(own)
        total = BinnedPixels(self.bins)
        for part in all_gather_object(own):
            total.merge(part)
        return total

    def _protocol(self, sizes: set[tuple[int, ...]]) -> dict[str, str]:
        shown = ', '.join('x'.join(map(str, size)) for size in sorted(sizes)[:3]) + (' ...' if len(sizes) > 3 else '')
        return {
            'pixels': self.pixels if self.pixels != 'binned' else f'binned ({self.bins})',
            'measured at': shown or 'no pixels',
            'AUPRO': f'{self.aupro}, limit {self.aupro_limit:g}',
            'image AP': self.image_ap,
        }


def _category(sample: Mapping[str, Any]) -> str:
    return str(sample.get('category') or NO_CATEGORY)


def _plane(value: Any) -> np.ndarray:
    """An array (H, W) from PixelData as a dict, a tensor or an array of shape (1, H, W) or (H, W)."""
    data = value['data'] if isinstance(value, Mapping) else getattr(value, 'data', value)
    array = data.detach().cpu() if isinstance(data, torch.Tensor) else data
    if isinstance(array, torch.Tensor):
        array = (array.float() if array.dtype in (torch.float16, torch.bfloat16) else array).numpy()
    array = np.asarray(array)
    return array[0] if array.ndim == 3 and array.shape[0] == 1 else array
