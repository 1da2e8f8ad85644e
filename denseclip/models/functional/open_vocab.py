"""Scores of class names per pixel, and what training-free methods do to them before a label is taken."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.core.precision import full_precision


def cosine_scores(dense: Tensor, embeddings: Tensor) -> Tensor:
    """Cosines of pixel embeddings with class embeddings.

    Computed in float32 under autocast and of 16-bit embeddings: cosines of classes lie within a few hundredths of each
    other, where bfloat16 has steps of a thousandth.

    Args:
        dense: Pixel embeddings, not normalised.
        embeddings: Unit-length rows.

    Shape:
        - dense: :math:`(N, E, h, w)`; embeddings: :math:`(K, E)`; result: :math:`(N, K, h, w)`
    """
    with full_precision(dense.device.type):
        unit = unit_length(dense if dense.dtype == torch.float64 else dense.float())
        return torch.einsum('nehw,ke->nkhw', unit, embeddings.to(unit.dtype))


def unit_length(dense: Tensor) -> Tensor:
    """Pixel embeddings (N, E, h, w) of length one."""
    # No epsilon as in MaskCLIP's head, but a vector of zeros must not become NaN.
    return dense / dense.norm(dim=1, keepdim=True).clamp_min(torch.finfo(dense.dtype).tiny)


def prompt_denoising(cosines: Tensor, threshold: float, scale: float = 100.0, floor: float = -100.0) -> Tensor:
    """Take back classes of which no pixel is sure.

    Source: MaskCLIP section 3.3 (0.5 there).

    Args:
        cosines: Scores.
        threshold: Probability that a class must reach somewhere in the picture, 0..1.
        scale: Factor before the softmax over classes.
        floor: Score of classes taken back.

    Shape:
        - cosines and result: :math:`(N, K, h, w)`
    """
    best = (cosines * scale).softmax(dim=1).amax(dim=(2, 3), keepdim=True)
    return cosines.masked_fill(best < threshold, floor)


def key_smoothing(probabilities: Tensor, keys: Tensor, threshold: float, as_released: bool = False) -> Tensor:
    """Let pixels that are not sure take the mean of the probabilities of pixels with similar keys.

    Source: MaskCLIP section 3.3, equation 4.

    Args:
        probabilities: Of the classes.
        keys: Of the pixels, from the last block.
        threshold: Pixels whose best class is less probable than this are replaced, 0..1.
        as_released: As in MaskCLIP's code: keys normalised over the pixels instead of over their channels, and a sum
            instead of a mean.

    Shape:
        - probabilities and result: :math:`(N, K, h, w)`; keys: :math:`(N, hw, C)`
    """
    unit = F.normalize(keys, dim=1 if as_released else 2)
    similarity = unit @ unit.transpose(1, 2)
    smooth = probabilities.flatten(2) @ similarity.transpose(1, 2)
    if not as_released:
        smooth = smooth / similarity.abs().sum(dim=-1)[:, None].clamp_min(1e-6)
    unsure = probabilities.amax(dim=1, keepdim=True) < threshold
    return torch.where(unsure, smooth.unflatten(2, probabilities.shape[2:]), probabilities)


def merge_names(scores: Tensor, class_index: Tensor, num_classes: int) -> Tensor:
    """Scores of names to scores of classes: the best name of each class.

    Shape:
        - scores: :math:`(P, ...)`; class_index: :math:`(P,)`; result: :math:`(K, ...)`
    """
    index = class_index.view(-1, *[1] * (scores.ndim - 1)).expand_as(scores)
    out = scores.new_empty((num_classes, *scores.shape[1:]))
    return out.scatter_reduce_(0, index, scores, 'amax', include_self=False)


def small_classes(labels: Tensor, num_classes: int, threshold: float, background: int) -> Tensor:
    """Which classes take too small a part of what is not background.

    Source: SCLIP's evaluation (``area_thd``), for its VOC21 protocol.

    Args:
        labels: Label map.
        num_classes: K.
        threshold: Least share of the pixels that are not background, 0..1; a class must have more.
        background: Label that is neither counted nor dropped.

    Returns:
        (K,) bool.
    """
    classes = torch.arange(num_classes, device=labels.device)
    area = (labels.flatten()[None] == classes[:, None]).sum(dim=1) * (classes != background)
    return (area <= threshold * area.sum()) & (classes != background)


def thresholded_labels(
    scores: Tensor, background: int | None, prob_threshold: float | None = None, area_threshold: float | None = None
) -> tuple[Tensor, Tensor]:
    """Labels from probabilities, with a background where no class is sure.

    Args:
        scores: Probabilities of the classes.
        background: Label of pixels without a class; None when no threshold is given.
        prob_threshold: Pixels whose best class is less probable become background.
        area_threshold: See :func:`small_classes`; the scores of such classes become 0.

    Returns:
        Labels and the scores they were taken from.

    Shape:
        - scores: :math:`(K, H, W)`; results: :math:`(H, W)` and :math:`(K, H, W)`
    """
    labels = scores.argmax(dim=0)
    if area_threshold is not None and background is not None:
        dropped = small_classes(labels, scores.shape[0], area_threshold, background)
        scores = scores.masked_fill(dropped[:, None, None], 0.0)
        labels = scores.argmax(dim=0)
    if prob_threshold is not None and background is not None:
        labels = torch.where(scores.amax(dim=0) < prob_threshold, background, labels)
    return labels, scores


def region_labels(labels: Tensor, regions: Tensor, num_classes: int) -> Tensor:
    """Give every region the label that most of its pixels have; ties go to the lower label.

    Args:
        labels: Label map, (H, W).
        regions: Region number of each pixel, 0 or more; negative: belongs to no region and keeps its label.
        num_classes: Number of labels.

    Shape:
        - labels, regions and result: :math:`(H, W)`
    """
    inside = regions >= 0
    flat, numbers = labels.flatten().long(), regions.flatten().clamp_min(0).long()
    count = int(numbers.max()) + 1
    votes = torch.zeros(count * num_classes, dtype=torch.long, device=labels.device)
    votes.scatter_add_(0, numbers * num_classes + flat, inside.flatten().long())
    winner = votes.view(count, num_classes).argmax(dim=1)
    return torch.where(inside, winner[numbers].view_as(labels).to(labels.dtype), labels)
