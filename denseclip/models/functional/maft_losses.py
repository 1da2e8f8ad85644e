"""What MAFT+ adds to the losses of a mask generator, so that CLIP's trunk can learn without forgetting."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from denseclip.core.precision import full_precision


def pyramid_sums(features: Tensor, scales: Sequence[int] = (1, 2, 4)) -> Tensor:
    """Column sums and row sums of a feature map, average-pooled at several scales.

    A map that is not square is first stretched to a square of its longer side; the pooling windows are cut from the
    original width, so a map higher than wide has more of them.

    Args:
        features: Feature map.
        scales: Windows across the width.

    Returns:
        For each scale the column sums, then the row sums, all channels of each.

    Shape:
        - features: :math:`(N, C, H, W)`; result: :math:`(N, L)`
    """
    height, width = features.shape[-2:]
    if height != width:
        side = max(height, width)
        features = F.interpolate(features, size=(side, side), mode='bilinear', align_corners=False)
    parts = []
    for scale in scales:
        # A map narrower than the scale has one window per pixel; the authors' code stops there with an error.
        pooled = F.avg_pool2d(features, max(width // scale, 1))
        parts += [pooled.sum(dim=2).flatten(1), pooled.sum(dim=3).flatten(1)]
    return torch.cat(parts, dim=1)


def compensation_loss(student: Tensor, teacher: Tensor, scales: Sequence[int] = (1, 2, 4)) -> Tensor:
    """Representation compensation: keep the sums of CLIP's features where they were before fine-tuning.

    Source: MAFT+ (Jiao et al., ECCV 2024), section 3.3.

    Args:
        student: Last feature map of the trunk that is trained.
        teacher: That of the original trunk.
        scales: See :func:`pyramid_sums`.

    Returns:
        Mean smooth L1 distance, a scalar.

    Shape:
        - student, teacher: :math:`(N, C, H, W)`
    """
    with full_precision(student.device.type):
        ours, theirs = (pyramid_sums(x.float().relu(), scales) for x in (student, teacher.detach()))
        return F.smooth_l1_loss(ours, theirs)


def soft_mask_iou(mask_logits: Tensor, targets: Tensor) -> Tensor:
    r"""IoU of soft masks, resized to the size of binary ones, with all of these.

    Resizing is linear, :math:`m' = A m B^T`, so :math:`\sum m' g = \sum m (A^T g B)`: the targets are carried to the
    masks' resolution instead, and the sums over pixels are one matrix product. Full-size soft masks are never made.

    Args:
        mask_logits: Logits of the soft masks.
        targets: Binary masks.

    Returns:
        IoU of each target with each soft mask.

    Shape:
        - mask_logits: :math:`(N, Q, h, w)`
        - targets: :math:`(N, S, H, W)`
        - result: :math:`(N, S, Q)`
    """
    with full_precision(mask_logits.device.type):
        soft, binary = mask_logits.float().sigmoid(), targets.to(torch.float32)
        rows = _resizing_matrix(soft.shape[2], binary.shape[2], soft)
        columns = _resizing_matrix(soft.shape[3], binary.shape[3], soft)
        carried = (rows.T @ binary @ columns).flatten(2)
        weight = torch.outer(rows.sum(dim=0), columns.sum(dim=0)).flatten()
        soft = soft.flatten(2)
        both = carried @ soft.transpose(1, 2)
        union = binary.flatten(2).sum(dim=2)[:, :, None] + (soft @ weight)[:, None] - both
        return both / (union + 1e-7)


def _resizing_matrix(size: int, new_size: int, like: Tensor) -> Tensor:
    """Bilinear resizing along one axis as a matrix, ``(new_size, size)``."""
    unit = torch.eye(size, dtype=like.dtype, device=like.device)
    return F.interpolate(unit[None], size=new_size, mode='linear', align_corners=False)[0].T


def mask_quality(iou: Tensor) -> Tensor:
    """IoU stretched to 0..1 over the masks of each segment, ``(..., Q)``."""
    low, high = iou.amin(dim=-1, keepdim=True), iou.amax(dim=-1, keepdim=True)
    return (iou - low) / (high - low + 1e-8)


def mask_aware_loss(
    class_logits: Tensor, mask_logits: Tensor, labels: Sequence[Tensor], masks: Sequence[Tensor]
) -> Tensor:
    """Let CLIP's probability of a class follow how well each mask fits a segment of that class.

    Source: MAFT (Jiao et al., NeurIPS 2023), section 3.2; as MAFT+ uses it.

    Args:
        class_logits: Of the masks, without "void".
        mask_logits: The masks; no gradient flows into them.
        labels: Class of each segment, per image.
        masks: Binary masks of the segments, per image; all of one size.

    Returns:
        Mean smooth L1 distance over all pairs of segment and mask; zero for a batch without any segment.

    Shape:
        - class_logits: :math:`(N, Q, K)`
        - mask_logits: :math:`(N, Q, h, w)`
        - labels: :math:`(S_n,)` each
        - masks: :math:`(S_n, H, W)` each
    """
    if not sum(label.shape[0] for label in labels):
        return class_logits.sum() * 0
    probabilities = class_logits.float().softmax(dim=-1)
    wanted = pad_sequence(list(labels), batch_first=True, padding_value=-1)  # N x S, the padding has no class
    with torch.no_grad():
        quality = mask_quality(soft_mask_iou(mask_logits, pad_sequence(list(masks), batch_first=True)))
    index = wanted.clamp_min(0)[:, None].expand(-1, probabilities.shape[1], -1)
    given = probabilities.gather(2, index).transpose(1, 2)
    real = wanted >= 0
    return F.smooth_l1_loss(given[real], quality[real])
