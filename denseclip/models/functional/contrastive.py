"""The contrastive loss of CLIP, over the batches of all processes, blind to pairs that are no negatives."""

from __future__ import annotations

from collections.abc import Sequence

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


def random_alignment_loss(images: Tensor, texts: Tensor, references: Tensor) -> Tensor:
    r"""How far pairs are from a random vector that picture and text share.

    .. math:: L = \frac{1}{2B} \sum_i \lVert z_i - r_i \rVert^2 + \lVert t_i - r_i \rVert^2

    Drawn anew at every step from one distribution, the vectors make both kinds of features follow it, and the two of a
    pair meet without all pairs falling together.

    Args:
        images: Features of pictures.
        texts: Features of their texts.
        references: One vector for each pair, from the normal distribution in the paper.

    Returns:
        Scalar.

    Shape:
        - images, texts, references: :math:`(B, E)`

    Source: Yamaguchi et al., "Post-pre-training for Modality Alignment in Vision-Language Foundation Models", CVPR
    2025, section 4 (CLIP-Refine).
    """
    away = [(features - references.to(features.dtype)).square().sum(dim=1).mean() for features in (images, texts)]
    return (away[0] + away[1]) / 2


def hybrid_distillation_loss(
    pairs: Sequence[Tensor],
    teacher_pairs: Sequence[Tensor],
    scales: tuple[Tensor, Tensor],
    alpha: float = 0.5,
    groups: Tensor | None = None,
) -> Tensor:
    r"""Similarities within a batch, drawn to a mixture of the truth and of a teacher's similarities.

    .. math:: L = \tfrac12 \sum_{\text{both ways}} \mathrm{KL}\left(\alpha I + (1 - \alpha) Q \,\Vert\, P\right)

    with Q and P the softmax over a row of the teacher's and the student's similarities, and the mean over rows. With
    ``alpha=1`` it is :func:`contrastive_loss`; with 0 it is 0 for a student that equals its teacher.

    Args:
        pairs: Unit-length embeddings of pictures and of texts.
        teacher_pairs: The teacher's.
        scales: Factors of the cosines, the student's and the teacher's.
        alpha: Share of the truth.
        groups: Integer of each pair; pairs with equal ones are true of each other and share the truth. None: none are.

    Returns:
        Scalar.

    Shape:
        - each of the pairs: :math:`(B, E)`; groups: :math:`(B)`

    Source: as of :func:`random_alignment_loss`.
    """
    mine, theirs = (scale * part[0] @ part[1].T for scale, part in zip(scales, (pairs, teacher_pairs), strict=True))
    place = torch.arange(len(mine), device=mine.device) if groups is None else groups
    truth = (place[:, None] == place[None]).to(mine.dtype)
    truth = truth / truth.sum(dim=1, keepdim=True)

    def one_way(student: Tensor, teacher: Tensor) -> Tensor:
        target = alpha * truth + (1 - alpha) * teacher.softmax(dim=1)
        return F.kl_div(student.log_softmax(dim=1), target, reduction='batchmean')

    return (one_way(mine, theirs) + one_way(mine.T, theirs.T)) / 2


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
