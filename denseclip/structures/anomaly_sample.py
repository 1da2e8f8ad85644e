"""One picture of an anomaly data set: its ground truth and what a model says about it."""

from __future__ import annotations

from mmengine.structures import BaseDataElement, PixelData


class AnomalyDataSample(BaseDataElement):
    """Ground truth and prediction of one picture; ``anomaly_map`` and ``pred_score`` mean what anomalib means by them.

    Metainfo used by the suite: ``img_path``; ``ori_shape`` and ``img_shape`` (height, width) before and after resizing;
    ``category`` (folder of the data set); ``object_name`` (what the prompts call it, wins over the category);
    ``defect_type``.

    Attributes:
        gt_mask: Defective pixels, bool or 0 / 1, (1, H, W).
        gt_label: 1 for a picture with a defect, 0 without.
        anomaly_map: Score of every pixel, (1, H, W) in the picture's original size; higher is more anomalous, raw.
        pred_score: Score of the picture, raw.
    """

    @property
    def gt_mask(self) -> PixelData:
        """Ground truth per pixel."""
        return self._gt_mask

    @gt_mask.setter
    def gt_mask(self, value: PixelData) -> None:
        self.set_field(value, '_gt_mask', dtype=PixelData)

    @gt_mask.deleter
    def gt_mask(self) -> None:
        del self._gt_mask

    @property
    def gt_label(self) -> int:
        """Ground truth of the picture."""
        return self._gt_label

    @gt_label.setter
    def gt_label(self, value: int) -> None:
        self.set_field(int(value), '_gt_label', dtype=int)

    @gt_label.deleter
    def gt_label(self) -> None:
        del self._gt_label

    @property
    def anomaly_map(self) -> PixelData:
        """Predicted score per pixel."""
        return self._anomaly_map

    @anomaly_map.setter
    def anomaly_map(self, value: PixelData) -> None:
        self.set_field(value, '_anomaly_map', dtype=PixelData)

    @anomaly_map.deleter
    def anomaly_map(self) -> None:
        del self._anomaly_map

    @property
    def pred_score(self) -> float:
        """Predicted score of the picture."""
        return self._pred_score

    @pred_score.setter
    def pred_score(self, value: float) -> None:
        self.set_field(float(value), '_pred_score', dtype=float)

    @pred_score.deleter
    def pred_score(self) -> None:
        del self._pred_score
