"""Painted predictions of the test tool for panoptic and instance results."""

from __future__ import annotations

from typing import Any

import mmcv
import numpy as np
from mmengine.registry import VISUALIZERS
from mmseg.visualization import SegLocalVisualizer
from PIL import Image

from denseclip.visualization.boxes import boxes_picture
from denseclip.visualization.palette import palette_for
from denseclip.visualization.segments import segments_picture

LEAST_SCORE = 0.3
"""Instances below are not drawn."""


@VISUALIZERS.register_module()
class MaskTaskVisualizer(SegLocalVisualizer):
    """MMSeg's visualizer that also draws ``pred_panoptic_seg`` and ``pred_instances``, with outlines and names.

    Other results are drawn as MMSeg draws them. ``tools/test.py --show-dir`` uses it where the task is not semantic.
    """

    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: Any = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
        step: int = 0,
        with_labels: bool | None = True,
    ) -> None:
        """Draw a result.

        Args:
            name: Of the window or file.
            image: RGB, uint8, (H, W, 3).
            data_sample: The result, in the picture's size.
            draw_gt: Draw the truth too, of semantic results only.
            draw_pred: Draw the result.
            show: Show a window instead of writing.
            wait_time: Seconds until it closes.
            out_file: File to write instead of the visualizer's folder.
            step: Iteration, for the file's name.
            with_labels: Write names, of semantic results.
        """
        panoptic = data_sample is not None and 'pred_panoptic_seg' in data_sample
        instances = data_sample is not None and 'pred_instances' in data_sample
        if not draw_pred or not (panoptic or instances):
            super().add_datasample(
                name, image, data_sample, draw_gt, draw_pred, show, wait_time, out_file, step, with_labels
            )
            return
        picture = self._draw_panoptic(image, data_sample) if panoptic else self._draw_instances(image, data_sample)
        drawn = np.asarray(picture)
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        elif out_file is not None:
            mmcv.imwrite(mmcv.rgb2bgr(drawn), out_file)
        else:
            self.add_image(name, drawn, step)

    def _names(self) -> tuple[str, ...]:
        return tuple(self.dataset_meta['classes'])

    def _draw_panoptic(self, image: np.ndarray, sample: Any) -> Image.Image:
        found, names = sample.pred_panoptic_seg, self._names()
        labels = [s['category_id'] for s in found.segments_info]
        return segments_picture(image, found.data[0].cpu().numpy(), labels, names, palette_for(names))

    def _draw_instances(self, image: np.ndarray, sample: Any) -> Image.Image:
        found, names = sample.pred_instances, self._names()
        found = found[found.scores >= LEAST_SCORE].cpu().numpy()
        return boxes_picture(
            image, found.bboxes, found.labels, found.scores, names, palette_for(names), found.masks.astype(bool)
        )
