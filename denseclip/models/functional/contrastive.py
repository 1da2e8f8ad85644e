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


def principal_part(features: Tensor, components: int) -> Tensor:
    """Features rebuilt from their mean and the first principal components of their batch.

    Of ``components + 1`` features or fewer nothing is lost: the result is what came in.

    Args:
        features: Of one batch.
        components: How many are kept.

    Shape:
        - features and result: :math:`(B, E)`

    Source: Zhang et al., "Long-CLIP: Unlocking the Long-Text Capability of CLIP", ECCV 2024, section 3.3.
    """
    mean = features.mean(dim=0)
    left, sizes, right = torch.linalg.svd(features - mean, full_matrices=False)
    return left[:, :components] * sizes[:components] @ right[:components] + mean


def long_caption_losses(
    images: Tensor,
    long_texts: Tensor,
    short_texts: Tensor,
    scale: Tensor,
    *,
    components: int = 32,
    label_smoothing: float = 0.1,
) -> tuple[Tensor, Tensor]:
    """Long-CLIP's losses: a long caption against the picture, a short one against the picture's main parts.

    Args:
        images: Unit-length embeddings of pictures.
        long_texts: Unit-length embeddings of their long captions.
        short_texts: Unit-length embeddings of their short captions.
        scale: Factor of the cosines, a scalar.
        components: Of :func:`principal_part`; what is rebuilt is not made unit length again. A batch must be larger by
            two at least, or the second loss is an ordinary one.
        label_smoothing: Of both cross-entropies.

    Returns:
        Loss of the long captions and of the short ones, scalars; their sum is trained.

    Shape:
        - images, long_texts, short_texts: :math:`(B, E)`
    """
    main = principal_part(images, components)

    def loss(pictures: Tensor, texts: Tensor) -> Tensor:
        logits = scale * pictures @ texts.T
        target = torch.arange(len(logits), device=logits.device)
        ways = [F.cross_entropy(way, target, label_smoothing=label_smoothing) for way in (logits, logits.T)]
        return (ways[0] + ways[1]) / 2

    return loss(images, long_texts), loss(main, short_texts)


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
