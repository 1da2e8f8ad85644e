"""Detectors as one function of a picture and class embeddings, suppression of overlapping boxes inside.

A graph gives ``boxes`` (n, 4) in pixels of its input, ``scores`` (n), best first, ``labels`` (n), and ``masks``
(n, h, w), probabilities within the boxes, where the detector has them. Two inputs more: ``size`` (2), height and width
of the picture without padding, and ``least`` (1), the score that boxes have to be above.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor

from denseclip.export.image_graphs import JUMPS, ImageGraph

_SURE, _SAME = 0.3, 0.05
_ANY = -1.0
"""Least score of comparisons: random pictures show nothing that a trained model is sure of."""


class BoxGraph(ImageGraph):
    """Base of the graphs; they take one picture."""

    outputs: tuple[str, ...] = ('boxes', 'scores', 'labels')
    unit_text = False
    batch = 1
    changes = 'objects surer than 0.3'
    cases = (
        (1, 224, 224, 1),
        (1, 97, 131, 60),
        (1, 64, 96, 3),
        (1, 161, 75, 11),
        (1, 33, 257, 2),
        (1, 288, 384, 11),
    )
    least = 32

    def more(self, height: int, width: int) -> dict[str, Tensor]:
        """See :class:`ImageGraph`; a row and a column less than all, as with padding."""
        size = torch.tensor([height - 1.0, width - 1.0], dtype=torch.float32, device='cpu')
        return {'size': size, 'least': torch.tensor([_ANY], dtype=torch.float32, device='cpu')}

    def difference(self, found: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> float:
        """How far boxes are from those of the other side; a few of them rounding may suppress or not."""
        far = np.sort(np.concatenate([_far(found, right), _far(right, found)]))
        return float(far[: -max(2, int(JUMPS * len(far)))].max(initial=0))

    @property
    def seen(self) -> tuple[str, ...]:  # type: ignore[override]
        """See :class:`ImageGraph`."""
        return self.outputs

    def more_of_photographs(self, height: int, width: int) -> dict[str, np.ndarray]:
        """See :class:`ImageGraph`."""
        return {'size': np.array([height, width], dtype=np.float32), 'least': np.array([_SURE], dtype=np.float32)}

    def changed(self, found: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> float:
        """See :class:`ImageGraph`; an object is the same if its place and score are within a twentieth."""
        far = np.concatenate([_far(found[:3], right[:3]), _far(right[:3], found[:3])])
        return float((far > _SAME).mean()) if len(far) else 0.0

    def forward(self, images: Tensor, text: Tensor, size: Tensor, least: Tensor) -> tuple[Tensor, ...]:
        """Boxes, scores, labels and masks of a picture (1, 3, H, W) for class embeddings (K, E)."""
        return self.objects(self.model.pyramid(self.model.match(images, text[None]).levels), size, least)

    def objects(self, pyramid: Sequence[Tensor], size: Tensor, least: Tensor) -> tuple[Tensor, ...]:
        """Outputs for the inputs of the heads."""
        raise NotImplementedError


class RetinaNetGraph(BoxGraph):
    """DenseCLIP's RetinaNet."""

    def objects(self, pyramid: Sequence[Tensor], size: Tensor, least: Tensor) -> tuple[Tensor, ...]:
        """See :class:`BoxGraph`."""
        head = self.model.bbox_head
        config = head.test_cfg
        found = [_best_of_level(*level, head, config) for level in _levels(head, pyramid)]
        deltas, priors, scores, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
        boxes = decode(head.bbox_coder, priors, deltas, size)
        return suppress(
            boxes, scores, labels, size, least, config.nms['iou_threshold'], config.get('min_bbox_size', -1)
        )


class MaskRCNNGraph(BoxGraph):
    """DenseCLIP's Mask R-CNN, or its Faster R-CNN without masks."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        if model.with_mask:
            self.outputs = (*self.outputs, 'masks')

    def objects(self, pyramid: Sequence[Tensor], size: Tensor, least: Tensor) -> tuple[Tensor, ...]:
        """See :class:`BoxGraph`."""
        roi = self.model.roi_head
        boxes, features = _regions(roi.bbox_roi_extractor, pyramid, self.propose(pyramid, size))
        logits, deltas = roi.bbox_head(features)
        config = roi.test_cfg
        found: tuple[Tensor, ...] = suppress(
            *_pairs(roi.bbox_head, boxes, logits, deltas, size), size, least, config.nms['iou_threshold'], -1
        )
        if config.max_per_img > 0:
            found = _first(found, int(config.max_per_img))
        if not self.model.with_mask:
            return found
        boxes, scores, labels = found
        order, features = _regions_in_order(roi.mask_roi_extractor, pyramid, boxes)
        boxes, scores, labels = boxes[order], scores[order], labels[order]
        masks = roi.mask_head(features).sigmoid()
        plane = torch.zeros_like(labels) if roi.mask_head.class_agnostic else labels
        return boxes, scores, labels, masks[torch.arange(labels.shape[0], device=labels.device), plane]

    def propose(self, pyramid: Sequence[Tensor], size: Tensor) -> Tensor:
        """Boxes (n, 4) of anything."""
        head, config = self.model.rpn_head, self.model.test_cfg['rpn']
        found = [_best_of_level(*level, head, config)[:3] for level in _levels(head, pyramid)]
        numbers = torch.cat([torch.full_like(scores, k, dtype=torch.long) for k, (_, _, scores) in enumerate(found)])
        deltas, priors, scores = (torch.cat(parts) for parts in zip(*found, strict=True))
        boxes = decode(head.bbox_coder, priors, deltas, size)
        any_score = scores.new_full((1,), _ANY)
        side = config.get('min_bbox_size', -1)
        kept = suppress(boxes, scores, numbers, size, any_score, config.nms['iou_threshold'], side)
        return _first(kept, int(config.max_per_img))[0]


class ClosedRetinaNetGraph(RetinaNetGraph):
    """MMDetection's RetinaNet."""

    def forward(self, images: Tensor, size: Tensor, least: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """The same without words."""
        return self.objects(self.model.extract_feat(images), size, least)


class ClosedMaskRCNNGraph(MaskRCNNGraph):
    """MMDetection's Mask R-CNN and Faster R-CNN."""

    def forward(self, images: Tensor, size: Tensor, least: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """The same without words."""
        return self.objects(self.model.extract_feat(images), size, least)


def _first(found: Sequence[Tensor], count: int) -> tuple[Tensor, ...]:
    """The first of rows that are fewer than can be known."""
    rows = torch.arange(count, device=found[0].device)
    rows = rows[rows < found[1].shape[0]]
    return tuple(part[rows] for part in found)


def _regions_in_order(extractor: Any, pyramid: Sequence[Tensor], boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Features (n, C, s, s) of boxes, level by level, and whose they are (n)."""
    rois = torch.cat([torch.zeros_like(boxes[:, :1]), boxes], dim=1)
    level = extractor.map_roi_levels(rois, len(extractor.featmap_strides))
    rows = [(level == k).nonzero().squeeze(1) for k in range(len(extractor.featmap_strides))]
    features = [
        torch.ops.torchvision.roi_align(
            pyramid[k], rois[some], layer.spatial_scale, *layer.output_size, layer.sampling_ratio, layer.aligned
        )
        for k, (some, layer) in enumerate(zip(rows, extractor.roi_layers, strict=True))
    ]
    return torch.cat(rows), torch.cat(features)


def _regions(extractor: Any, pyramid: Sequence[Tensor], boxes: Tensor) -> tuple[Tensor, Tensor]:
    order, features = _regions_in_order(extractor, pyramid, boxes)
    return boxes[order], features


def _pairs(head: Any, boxes: Tensor, logits: Tensor, deltas: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, scores and labels of all pairs of region and class."""
    shares = logits.softmax(dim=-1)[:, :-1]
    count = shares.shape[1]
    parts = deltas.unflatten(1, (-1, 4)).expand(-1, count, -1)
    moved = decode(head.bbox_coder, boxes[:, None].expand(-1, count, -1).reshape(-1, 4), parts.reshape(-1, 4), size)
    labels = torch.arange(count, device=boxes.device).expand(shares.shape[0], -1)
    return moved, shares.reshape(-1), labels.reshape(-1)


def decode(coder: Any, boxes: Tensor, deltas: Tensor, size: Tensor) -> Tensor:
    """Boxes (n, 4) moved and resized by (n, 4), within the picture."""
    found = coder.decode(boxes, deltas)
    limit = size.flip(0).repeat(2)
    return torch.minimum(found.clamp(min=0), limit)


def suppress(
    boxes: Tensor, scores: Tensor, labels: Tensor, size: Tensor, least: Tensor, overlap: float, side: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes above a score that do not overlap better ones of their label, best first.

    Args:
        boxes: Within the picture.
        scores: Of each.
        labels: Of each.
        size: Height and width of the picture.
        least: What scores have to be above.
        overlap: Boxes whose intersection over union with a better one is larger go.
        side: Boxes whose sides are not longer go; negative: none.

    Shape:
        - boxes: :math:`(n, 4)`; scores, labels: :math:`(n)`
    """
    chosen = scores > least
    if side >= 0:
        chosen = chosen & ((boxes[:, 2:] - boxes[:, :2]) > side).all(dim=1)
    rows = chosen.nonzero().squeeze(1)
    boxes, scores, labels = boxes[rows], scores[rows], labels[rows]
    apart = boxes + (labels * (size.max() + 1))[:, None]
    kept = torchvision.ops.nms(apart, scores, overlap)
    return boxes[kept], scores[kept], labels[kept]


def _levels(head: Any, pyramid: Sequence[Tensor]) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Scores (A, K), deltas (A, 4) and anchors (A, 4) of each level."""
    scores, deltas = head(pyramid)
    shapes = [level.shape[-2:] for level in scores]
    priors = head.prior_generator.grid_priors(shapes, dtype=scores[0].dtype, device=scores[0].device)
    return [
        (s[0].permute(1, 2, 0).reshape(-1, head.cls_out_channels), d[0].permute(1, 2, 0).reshape(-1, 4), p)
        for s, d, p in zip(scores, deltas, priors, strict=True)
    ]


def _best_of_level(
    logits: Tensor, deltas: Tensor, priors: Tensor, head: Any, config: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Deltas, anchors, scores and labels of the best pairs of anchor and class."""
    shares = logits.sigmoid() if head.use_sigmoid_cls else logits.softmax(dim=-1)[:, :-1]
    classes = shares.shape[1]
    flat = shares.reshape(-1)
    most = int(config.get('nms_pre', -1))
    count = flat.shape[0] if most <= 0 else torch.sym_min(most, flat.shape[0])
    scores, places = flat.topk(count)
    anchors = places // classes
    return deltas[anchors], priors[anchors], scores, places % classes


def _far(found: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> np.ndarray:
    """How far each box of ``right`` is from the nearest of ``found`` of its label, in place, score and mask."""
    largest = max(float(right[0].max(initial=1.0)), 1.0)
    far = np.abs(right[0][:, None] - found[0][None]).max(axis=2) / largest
    far = np.maximum(far, np.abs(right[1][:, None] - found[1][None]))
    if len(right) > 3:
        far = np.maximum(far, np.abs(right[3][:, None] - found[3][None]).max(axis=(2, 3), initial=0))
    return np.where(right[2][:, None] == found[2][None], far, np.inf).min(axis=1, initial=np.inf)
