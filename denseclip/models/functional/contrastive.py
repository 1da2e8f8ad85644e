"""The contrastive loss of CLIP, over the batches of all processes, blind to pairs that are no negatives."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from open_clip.loss import gather_features
from torch import Tensor
from torch import distributed as dist


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor, groups: Tensor | None = None) -> Tensor:
    r"""Symmetric cross-entropy between pictures and texts: pair ``i`` belongs together.

    .. math:: L = \tfrac12 \left( \mathrm{CE}(s\, I T^\top) + \mathrm{CE}(s\, T I^\top) \right)

    A text of the same group as another picture's own text is true of that picture as well: such pairs are left out of
    both sums.

    Args:
        images: Unit-length embeddings of pictures.
        texts: Unit-length embeddings of their texts.
        scale: Factor of the cosines, a scalar.
        groups: Integer of each pair; equal integers are no negatives of each other. None: all are.

    Returns:
        Scalar.

    Shape:
        - images, texts: :math:`(B, E)`
        - groups: :math:`(B)`

    Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021, figure 3.
    """
    logits = scale * images @ texts.T
    target = torch.arange(len(logits), device=logits.device)
    if groups is not None:
        same = groups[:, None] == groups[None]
        logits = logits.masked_fill(same & (target[:, None] != target[None]), float('-inf'))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def gather_pairs(images: Tensor, texts: Tensor, groups: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The pairs of all processes, in the order of their ranks; gradients flow back to the process of each.

    Every process then computes the whole loss; with DistributedDataParallel's mean over processes, parameters get the
    gradient that one process with the whole batch would give them.

    Args:
        images: This process's embeddings of pictures, (B, E).
        texts: Of texts, (B, E).
        groups: Of pairs, (B); all processes must hold equally many.

    Returns:
        The same three of all processes; unchanged where there is only one.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return images, texts, groups
    images, texts = gather_features(
        images, texts, gather_with_grad=True, rank=dist.get_rank(), world_size=dist.get_world_size()
    )
    everywhere = [torch.empty_like(groups) for _ in range(dist.get_world_size())]
    dist.all_gather(everywhere, groups)
    return images, texts, torch.cat(everywhere)
