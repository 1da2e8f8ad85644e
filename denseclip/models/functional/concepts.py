"""From what a model finds of each phrase to one label per pixel.

The rules are those of ActiveSAM (2026, MIT): the masks of a phrase's objects, each times its score, and the semantic
map, the larger of both at every pixel, times the probability that the picture shows the concept at all; the class with
the largest value gets the pixel. Maps are probabilities when they are resized, as in transformers; ActiveSAM resizes
logits.
"""

from __future__ import annotations

import torch
from torch import Tensor

FUSIONS = ('max', 'objects', 'semantic')
_SAME = 0.5
_PAIRS = 64


def fused_maps(masks: Tensor, scores: Tensor, semantic: Tensor, threshold: float, fusion: str) -> Tensor:
    """Probability of each phrase at each pixel, if the picture shows it.

    Args:
        masks: Mask logits of the queries.
        scores: Of the queries; those of ``threshold`` and less are no objects.
        semantic: Logits of the semantic maps.
        threshold: 0..1.
        fusion: The larger of both (``'max'``), or one of them alone: ``'objects'``, ``'semantic'``.

    Shape:
        - masks: :math:`(P, Q, h, w)`; scores: :math:`(P, Q)`; semantic, result: :math:`(P, h, w)`
    """
    if fusion == 'semantic':
        return semantic.float().sigmoid()
    counted = torch.where(scores > threshold, scores, 0.0).to(masks.dtype)
    objects = (masks.sigmoid() * counted[:, :, None, None]).amax(dim=1).float()
    return objects if fusion == 'objects' else torch.maximum(objects, semantic.float().sigmoid())


def gated_maps(maps: Tensor, presence: Tensor, least: float | None) -> Tensor:
    """Maps times the presence of their phrases; those below ``least`` lie below all others, in their own order.

    Args:
        maps: 0..1.
        presence: 0..1.
        least: Presence that a phrase needs; None: presence is not looked at.

    Shape:
        - maps and result: :math:`(P, h, w)`; presence: :math:`(P,)`
    """
    if least is None:
        return maps
    presence = presence.float()[:, None, None]
    return torch.where(presence >= least, maps * presence, maps * presence - 1)


def take_best_of_names(best: Tensor, maps: Tensor, class_index: Tensor) -> None:
    """Let further names of classes count: the best name of each class at each pixel.

    Args:
        best: Of the names before; changed.
        maps: Of the further names.
        class_index: Their classes.

    Shape:
        - best: :math:`(K, h, w)`; maps: :math:`(P, h, w)`; class_index: :math:`(P,)`
    """
    best.scatter_reduce_(0, class_index[:, None, None].expand_as(maps), maps, reduce='amax', include_self=True)


def distinct(masks: Tensor, scores: Tensor, labels: Tensor, names: Tensor) -> Tensor:
    """Objects that no surer one of another name of their class covers: "car" and "automobile" find the same ones.

    Args:
        masks: Which pixels each object takes, bool.
        scores: How sure the model is.
        labels: Their classes.
        names: The phrases that found them.

    Returns:
        Numbers of the objects to keep, surest first.

    Shape:
        - masks: :math:`(N, h, w)`; scores, labels, names: :math:`(N,)`
    """
    order = scores.argsort(descending=True, stable=True)
    kind, name = labels[order], names[order]
    rivals = ((kind[:, None] == kind[None]) & (name[:, None] != name[None])).triu()
    surer, other = rivals.nonzero(as_tuple=True)
    planes = masks.flatten(1)[order]
    area = planes.sum(dim=1)
    # Few pairs of many objects are rivals, so no matrix of all of them; and one wait for the device, not one for each.
    pairs = zip(surer.split(_PAIRS), other.split(_PAIRS), strict=True)
    both = torch.cat([(planes[one] & planes[two]).sum(dim=1) for one, two in pairs])
    same = (both > _SAME * (area[surer] + area[other] - both)).cpu()
    left = [True] * len(order)
    for one, two in zip(surer.cpu()[same].tolist(), other.cpu()[same].tolist(), strict=True):
        left[two] &= not left[one]  # by surer ones first: they are settled
    return order[torch.tensor(left, dtype=torch.bool, device=order.device)]
