"""How many of the segments that are there a mask generator proposes at all, whatever class it gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.registry import METRICS
from torch import Tensor

from denseclip.evaluation.picture_metric import Job, PictureMetric
from denseclip.recipes import ignored_label


def best_ious(proposals: Tensor, segments: Tensor, void: Tensor | None = None) -> Tensor:
    """IoU of each segment with the proposal that fits it best.

    Args:
        proposals: Masks, bool.
        segments: Masks of the truth, bool.
        void: Pixels without truth, bool; they count for nothing.

    Returns:
        IoU of each segment, 0..1; 0 without proposals.

    Shape:
        proposals ``(Q, H, W)``, segments ``(S, H, W)``, void ``(H, W)``; result ``(S,)``
    """
    if len(segments) == 0 or len(proposals) == 0:
        return segments.new_zeros(len(segments), dtype=torch.float32)
    found, truth = proposals.flatten(1).float(), segments.flatten(1).float()
    if void is not None:
        found = found * (~void).flatten().float()
    common = truth @ found.T
    union = truth.sum(1, keepdim=True) + found.sum(1) - common
    return (common / union.clamp_min(1)).amax(dim=1)


@dataclass(frozen=True)
class _Picture:
    labels: Tensor
    ious: Tensor


@METRICS.register_module()
class ProposalRecallMetric(PictureMetric):
    """Share of the true segments that some proposal covers, in percent.

    A segment is found if a proposal has an IoU of at least the threshold with it; no class takes part. Segments are
    those of ``gt_panoptic_seg`` (things one by one; crowds left out), or else the classes in ``gt_sem_seg``. Samples
    hold ``pred_proposals`` with ``masks``, which ``model.test_cfg.task='proposals'`` asks for.

    The result holds ``recall`` (mean over classes that occur, so that rare ones count alike) and ``recall_segments``
    (over all segments) at each threshold, and ``mean_iou`` of the best proposals; the same for each set of classes.

    Args:
        thresholds: IoU, 0..1.
        sets: Named sets of classes, as names or as indices.
        ignore_index: Label of ignored pixels in ``gt_sem_seg``; default: 65535 beyond 255 classes, else 255.
        collect_device: See :class:`mmengine.evaluator.BaseMetric`.
        prefix: See there.
    """

    default_prefix = None

    def __init__(
        self,
        thresholds: Sequence[float] = (0.5,),
        sets: Mapping[str, Sequence[int | str]] | None = None,
        ignore_index: int | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not thresholds or not all(0 < t <= 1 for t in thresholds):
            raise ValueError(f'ProposalRecallMetric: thresholds={thresholds} must be IoUs within 0..1')
        self.thresholds, self.sets, self.ignore_index = tuple(thresholds), dict(sets or {}), ignore_index

    def job(self, sample: Mapping[str, Any]) -> Job:
        """Compare the proposals of a picture with its truth.

        Args:
            sample: Data sample as a dict.

        Raises:
            ValueError: If it lacks truth or proposals.
        """
        name = sample.get('img_path', 'picture')
        if 'pred_proposals' not in sample:
            raise ValueError(f"{name}: the data sample has no pred_proposals: set model.test_cfg.task='proposals'")
        if 'gt_panoptic_seg' not in sample and 'gt_sem_seg' not in sample:
            raise ValueError(f'{name}: the data sample has neither gt_panoptic_seg nor gt_sem_seg')
        masks = sample['pred_proposals']['masks']
        truth = {key: sample[key] for key in ('gt_panoptic_seg', 'gt_sem_seg') if key in sample}
        return lambda: self._compared(masks, truth, name)

    def _compared(self, masks: Tensor, truth: Mapping[str, Any], name: str) -> _Picture:
        labels, segments, void = self._truth(truth)
        if masks.shape[-2:] != segments.shape[-2:]:
            raise ValueError(
                f'{name}: proposals of {tuple(masks.shape[-2:])} pixels, truth of {tuple(segments.shape[-2:])}; '
                'load the truth after the resizing in the test pipeline'
            )
        ious = best_ious(masks, segments.to(masks.device), void.to(masks.device))
        return _Picture(labels.cpu(), ious.cpu())

    def _truth(self, sample: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Labels (S,), masks (S, H, W), and void pixels (H, W)."""
        if 'gt_panoptic_seg' in sample:
            truth = sample['gt_panoptic_seg']
            ids = torch.as_tensor(truth['data']).squeeze(0)
            infos = [s for s in truth['segments_info'] if not s['iscrowd']]
            wanted = torch.tensor([s['id'] for s in infos], dtype=ids.dtype, device=ids.device)
            labels = torch.tensor([s['category_id'] for s in infos], dtype=torch.long, device=ids.device)
        else:
            ids = torch.as_tensor(sample['gt_sem_seg']['data']).squeeze(0)
            wanted = ids.unique()
            count = len((self.dataset_meta or {}).get('classes', ()))
            wanted = wanted[wanted != (ignored_label(count) if self.ignore_index is None else self.ignore_index)]
            labels = wanted.long()
        segments = ids == wanted[:, None, None]
        kept = segments.flatten(1).any(dim=1)  # the resizing of a label map may have lost a segment
        return labels[kept], segments[kept], ~segments.any(dim=0)

    def compute_metrics(self, results: list[_Picture]) -> dict[str, float]:
        """Recall over all pictures, in percent."""
        labels = torch.cat([picture.labels for picture in results])
        ious = torch.cat([picture.ious for picture in results])
        summary = self._recall(labels, ious, '')
        for name, members in self._set_indices().items():
            inside = torch.isin(labels, torch.tensor(members))
            summary.update(self._recall(labels[inside], ious[inside], f'-{name}'))
        return summary

    def _recall(self, labels: Tensor, ious: Tensor, suffix: str) -> dict[str, float]:
        found: dict[str, float] = {f'segments{suffix}': len(labels)}
        _, place, count = labels.unique(return_inverse=True, return_counts=True)
        for threshold in self.thresholds:
            hits = (ious >= threshold).double()
            by_class = torch.zeros(len(count), dtype=torch.double).index_add_(0, place, hits) / count
            at = '' if threshold == self.thresholds[0] else f'@{threshold:g}'
            found[f'recall{at}{suffix}'] = 100 * float(by_class.mean())
            found[f'recall_segments{at}{suffix}'] = 100 * float(hits.mean())
        found[f'mean_iou{suffix}'] = 100 * float(ious.double().mean())
        return found

    def _set_indices(self) -> dict[str, list[int]]:
        places = {name: k for k, name in enumerate((self.dataset_meta or {}).get('classes', ()))}
        unknown = [m for members in self.sets.values() for m in members if isinstance(m, str) and m not in places]
        if unknown:
            raise ValueError(f'ProposalRecallMetric: sets name classes that the data set does not have: {unknown[:5]}')
        return {n: [places[m] if isinstance(m, str) else m for m in members] for n, members in self.sets.items()}
