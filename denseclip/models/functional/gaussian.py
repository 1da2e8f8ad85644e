"""Gaussian discriminant analysis: class means and one shared precision in closed form, no gradient.

Source: "A Hard-to-Beat Baseline for Training-Free CLIP-based Adaptation" (Wang et al., ICLR 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

AUTHORS_ALPHAS = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
"""Weights of the Gaussian scores that the authors choose from."""


@dataclass
class ClassStatistics:
    """What a Gaussian of each class with one shared covariance needs to know of its samples, gathered in one pass.

    Statistics of two sets of samples add up to those of both, so samples need never be in memory together.

    Attributes:
        count: Samples of each class, or the sum of their weights.
        sums: Sum of the samples of each class.
        outer: Sum of the samples' outer products, all classes together.

    Shape:
        - count: :math:`(C,)`; sums: :math:`(C, D)`; outer: :math:`(D, D)`; all float64
    """

    count: Tensor
    sums: Tensor
    outer: Tensor

    @classmethod
    def empty(cls, num_classes: int, dim: int, device: torch.device | str = 'cpu') -> ClassStatistics:
        """Those of no samples."""
        shapes = ((num_classes,), (num_classes, dim), (dim, dim))
        return cls(*(torch.zeros(shape, dtype=torch.float64, device=device) for shape in shapes))

    @classmethod
    def of(cls, features: Tensor, labels: Tensor, num_classes: int, weights: Tensor | None = None) -> ClassStatistics:
        """Those of some samples.

        Args:
            features: One row per sample.
            labels: Its class, 0 to C - 1.
            num_classes: C.
            weights: How much each sample counts; None: 1 each.

        Shape:
            - features: :math:`(N, D)`; labels and weights: :math:`(N,)`
        """
        found = cls.empty(num_classes, features.shape[1], features.device)
        rows = features.double()
        weight = torch.ones_like(rows[:, 0]) if weights is None else weights.double()
        weighted = rows * weight[:, None]
        found.count.index_add_(0, labels, weight)
        found.sums.index_add_(0, labels, weighted)
        found.outer += weighted.T @ rows
        return found

    def __add__(self, other: ClassStatistics) -> ClassStatistics:
        """Those of both sets of samples."""
        return ClassStatistics(self.count + other.count, self.sums + other.sums, self.outer + other.outer)

    @property
    def seen(self) -> Tensor:
        """Classes with samples, (C,) bool."""
        return self.count > 0

    @property
    def total(self) -> float:
        """Number of all samples, N."""
        return float(self.count.sum())

    @property
    def means(self) -> Tensor:
        """Mean of each class, (C, D); zeros without samples."""
        return self.sums / torch.where(self.seen, self.count, 1.0)[:, None]

    @property
    def scatter(self) -> Tensor:
        """Sum of the outer products of the samples' differences from the mean of their class, (D, D)."""
        within = self.outer - self.sums.T @ self.means
        return (within + within.T) / 2


def shrunk_precision(scatter: Tensor, total: float) -> Tensor:
    r"""Inverse covariance that stays well conditioned with few samples.

    The Kubokawa-Srivastava estimate :math:`D\,[(N-1)\,\Sigma + \mathrm{tr}(\Sigma)\,I]^{-1}`, with
    :math:`\Sigma = scatter / (N - 1)`. Where nothing varies (one sample per class) it is the identity.

    Args:
        scatter: See :attr:`ClassStatistics.scatter`.
        total: Number of samples N.

    Shape:
        - scatter and result: :math:`(D, D)`
    """
    dim = scatter.shape[0]
    identity = torch.eye(dim, dtype=scatter.dtype, device=scatter.device)
    trace = float(scatter.trace())
    if total <= 1 or trace <= torch.finfo(scatter.dtype).eps * dim:
        return identity
    return dim * torch.cholesky_inverse(torch.linalg.cholesky(scatter + trace / (total - 1) * identity))


def gaussian_classifier(means: Tensor, precision: Tensor, priors: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Linear classifier of Gaussians with one covariance: logits are ``features @ weight + bias``.

    Args:
        means: Of the classes.
        precision: Inverse of the shared covariance.
        priors: Probability of each class; None: all the same, as the authors' code has it whatever the data say.

    Returns:
        Weight and bias.

    Shape:
        - means: :math:`(C, D)`; precision: :math:`(D, D)`; priors: :math:`(C,)`
        - weight: :math:`(D, C)`; bias: :math:`(C,)`
    """
    if priors is None:
        priors = torch.full_like(means[:, 0], 1 / len(means))
    weight = precision @ means.T
    return weight, priors.log() - (means * weight.T).sum(dim=1) / 2


def squared_mahalanobis(features: Tensor, means: Tensor, precision: Tensor) -> Tensor:
    """Squared distance of each sample from each mean, in units of the shared covariance.

    Shape:
        - features: :math:`(N, D)`; means: :math:`(C, D)`; precision: :math:`(D, D)`; result: :math:`(N, C)`
    """
    # In the space where the covariance is the identity no two large numbers are subtracted.
    half = torch.linalg.cholesky(precision)
    return torch.cdist(features @ half, means @ half, compute_mode='donot_use_mm_for_euclid_dist').square()


def best_alpha(
    text_logits: Tensor, gaussian_logits: Tensor, labels: Tensor, alphas: Sequence[float] = AUTHORS_ALPHAS
) -> tuple[float, list[float]]:
    """Weight of the Gaussian scores with the best accuracy of held-out samples; of equals the first.

    Args:
        text_logits: Scaled cosines with the class texts.
        gaussian_logits: See :func:`gaussian_classifier`.
        labels: Classes of the samples.
        alphas: Weights to choose from.

    Returns:
        The weight, and the accuracy of each, 0..1.

    Shape:
        - text_logits and gaussian_logits: :math:`(N, C)`; labels: :math:`(N,)`
    """
    found = []
    for alpha in alphas:
        hits = (text_logits + alpha * gaussian_logits).argmax(dim=1) == labels
        found.append(float(hits.double().mean()))
    return alphas[found.index(max(found))], found


def base_classifier(features: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """The authors' classifier of base classes: the pseudo-inverse of the mean of the classes' own covariances.

    Args:
        features: Unit-length rows, at least two of each class.
        labels: Their classes.
        num_classes: C.

    Returns:
        Weight (D, C) and bias (C,), see :func:`gaussian_classifier`.
    """
    groups = [features[labels == k] for k in range(num_classes)]
    covariance = torch.stack([rows.T.cov() for rows in groups]).mean(dim=0)
    means = torch.stack([rows.mean(dim=0) for rows in groups])
    return gaussian_classifier(means, torch.linalg.pinv(covariance))


def new_class_classifier(
    features: Tensor, texts: Tensor, neighbours: int = 64, text_repeats: int = 16
) -> tuple[Tensor, Tensor, Tensor]:
    """Classifier of classes without samples, from the samples of other classes that are most like their texts.

    Args:
        features: Unit-length rows of the base classes.
        texts: Unit-length text of each new class.
        neighbours: How many of the rows stand for a class.
        text_repeats: How often its text is added to them for the mean.

    Returns:
        Means, weight and bias, see :func:`gaussian_classifier`.

    Shape:
        - features: :math:`(N, D)`; texts: :math:`(C, D)`; means: :math:`(C, D)`
    """
    neighbours = min(neighbours, len(features))
    near = features[(texts @ features.T).topk(neighbours, dim=1).indices]  # C, k, D
    means = (near.sum(dim=1) + text_repeats * texts) / (neighbours + text_repeats)
    apart = near - texts[:, None]
    precisions = [shrunk_precision(rows.T @ rows, neighbours) for rows in apart]
    return means, *gaussian_classifier(means, torch.stack(precisions).mean(dim=0))


def mix_scores(text_logits: Tensor, gaussian_logits: Tensor, chosen: Tensor, alpha: float) -> Tensor:
    """Scores of all classes, where some have Gaussian scores, too.

    Those add ``alpha`` times theirs to the text's, and then share among them what the text gave to all of them
    together. So classes without samples keep their text score to the bit, and where all classes have samples this is
    the softmax of the authors' ``text + alpha * gaussian``.

    Args:
        text_logits: In units of a softmax.
        gaussian_logits: Of the classes with samples.
        chosen: Which classes those are, in this order.
        alpha: Weight of the Gaussian scores; 0 leaves the text's as they are.

    Shape:
        - text_logits and result: :math:`(N, K, ...)`; gaussian_logits: :math:`(N, S, ...)`; chosen: :math:`(S,)`
    """
    if alpha == 0 or not len(chosen):
        return text_logits
    before = text_logits[:, chosen]
    mixed = before + alpha * gaussian_logits
    mixed = mixed - mixed.logsumexp(dim=1, keepdim=True) + before.logsumexp(dim=1, keepdim=True)
    return text_logits.index_copy(1, chosen, mixed.to(text_logits.dtype))
