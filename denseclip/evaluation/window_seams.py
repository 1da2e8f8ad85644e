"""How often windows that overlap label a pixel differently, over a set of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.registry import METRICS

from denseclip.evaluation.picture_metric import Job, PictureMetric


@METRICS.register_module()
class WindowSeams(PictureMetric):
    """Share of the pixels seen by two windows that they label differently, in percent, as ``window_seams``.

    Models count it where ``test_cfg.seams`` is set. Pictures that one window covers have no seams and do not count.

    Args:
        collect_device: See MMEngine.
        prefix: See MMEngine.
    """

    default_prefix = None

    def job(self, sample: Mapping[str, Any]) -> Job:
        """Take the counts of a picture.

        Raises:
            ValueError: If the model did not count.
        """
        if 'window_seams' not in sample:
            raise ValueError(
                "WindowSeams: the model counts no seams; set test_cfg.mode='slide' and test_cfg.seams=True."
            )
        return lambda: tuple(sample['window_seams'])

    def compute_metrics(self, results: list[tuple[int, int]]) -> dict[str, float]:
        """Share in percent, nan where no pixel was seen twice; nothing of no picture."""
        if not results:
            return {}
        different, seen = (sum(column) for column in zip(*results, strict=True))
        return {'window_seams': 100.0 * different / seen if seen else float('nan')}
