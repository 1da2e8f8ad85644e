"""A linear classifier for one picture, of support regions that are like it and of words: Retrieve and Segment.

Source: "Retrieve and Segment: Are a Few Examples Enough to Bridge the Supervision Gap in Open-Vocabulary Segmentation?"
(Aravanis et al., CVPR 2026).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MIXES = (0.9, 0.8, 0.6, 0.4, 0.2, 0.0)
"""Shares of what was seen in the mixtures of pictures and words; 0 is the words alone."""
_COSINES = 2**24  # of cells and regions at once: 64 MB


@dataclass(frozen=True)
class PictureFit:
    """How a classifier is fitted; the authors' settings.

    Attributes:
        neighbours: Support regions that each cell of the picture retrieves.
        temperature: Factor of the cosines between the whole picture and the words, whose softmax weighs classes.
        mixed: Weight of the mixtures of class means and words beside retrieved regions.
        guessed: Weight of the mixtures of what the picture itself shows and words, for classes without regions.
        rate: Learning rate of AdamW.
        decay: Its weight decay.
        steps: How often it steps, over all rows each time.
        seed: Of the weights it starts from.
    """

    neighbours: int = 4
    temperature: float = 10.0
    mixed: float = 1.5
    guessed: float = 0.2
    rate: float = 0.002
    decay: float = 5e-4
    steps: int = 700
    seed: int = 0


@dataclass(frozen=True)
class Rows:
    """What a classifier is fitted to.

    Attributes:
        features: Unit-length rows.
        targets: What each is, adding up to 1 over the classes.
        weights: How much its loss counts.

    Shape:
        - features: :math:`(M, D)`; targets: :math:`(M, K)`; weights: :math:`(M,)`
    """

    features: Tensor
    targets: Tensor
    weights: Tensor


def picture_rows(
    features: Tensor,
    guesses: Tensor,
    regions: Tensor,
    owners: Tensor,
    texts: Tensor,
    scale: float,
    fit: PictureFit,
) -> Rows:
    """What the classifier of one picture is fitted to.

    Retrieved support regions; mixtures of their classes' means over all regions and words; and, for classes without any
    region, mixtures of the mean of the picture's cells that the words take for the class and the words.

    Args:
        features: Unit-length cells of the picture.
        guesses: Class of each by the words.
        regions: Unit-length support regions.
        owners: Class of each.
        texts: Unit-length words of each class.
        scale: Factor of cosines with words in a softmax.
        fit: Settings.

    Shape:
        - features: :math:`(N, D)`; guesses: :math:`(N,)`; regions: :math:`(R, D)`; owners: :math:`(R,)`
        - texts: :math:`(K, D)`
    """
    classes = len(texts)
    whole = F.normalize(features.mean(dim=0), dim=0)
    likely = (whole @ texts.T * fit.temperature).softmax(dim=0)
    count = min(fit.neighbours, len(regions))
    parts = features.split(max(1, _COSINES // max(1, len(regions))))
    near = torch.cat([(part @ regions.T).topk(count, dim=1).indices.unique() for part in parts]).unique()
    kinds = owners[near].unique()
    means = F.normalize(_sums(regions, owners, classes)[kinds], dim=1)
    mixed, mixed_of = _mixtures(means, texts[kinds], kinds)
    supported = torch.zeros(classes, dtype=torch.bool, device=features.device).index_fill_(0, owners, True)
    others = guesses.unique()
    others = others[~supported[others]]
    shown = F.normalize(_sums(features, guesses, classes)[others], dim=1)
    guessed, _ = _mixtures(shown, texts[others], others)
    soft = (guessed @ texts.T * scale).softmax(dim=1)
    sure = F.one_hot(torch.cat([owners[near], mixed_of]), classes).to(features.dtype)
    targets = torch.cat([sure, soft])
    weights = likely[targets.argmax(dim=1)]
    kinds_of_rows = torch.cat(
        [
            weights.new_ones(len(near)),
            weights.new_full((len(mixed),), fit.mixed),
            weights.new_full((len(guessed),), fit.guessed),
        ]
    )
    return Rows(torch.cat([regions[near], mixed, guessed]), targets, weights / weights.sum() * kinds_of_rows)


def _sums(rows: Tensor, owners: Tensor, classes: int) -> Tensor:
    """Sum of the rows of each class, (K, D)."""
    return rows.new_zeros(classes, rows.shape[1]).index_add_(0, owners, rows)


def _mixtures(seen: Tensor, texts: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Unit-length mixtures by :data:`MIXES` of what was seen of each class and its words, and their classes."""
    parts = [F.normalize(share * seen + (1 - share) * texts, dim=1) for share in MIXES]
    return torch.cat(parts), labels.repeat(len(MIXES))


def start_weights(classes: int, dim: int, seed: int) -> Tensor:
    """The weights (K, D) that fitting starts from, on the CPU: those of ``torch.manual_seed`` and Kaiming's rule."""
    generator = torch.Generator(device='cpu').manual_seed(seed)
    empty = torch.empty(classes, dim, dtype=torch.float32, device='cpu')
    return nn.init.kaiming_uniform_(empty, generator=generator)


def fit_rows(rows: Rows, fit: PictureFit) -> tuple[Tensor, Tensor]:
    """A linear classifier by AdamW on the weighted cross-entropy of all rows.

    The gradient of a softmax regression is written out: it is one product, and pictures are labelled where autograd is
    off. AdamW is, too: PyTorch's loads its compiler at the first step, which takes longer than the fit.

    Returns:
        Weight (D, K) and bias (K,): logits are ``features @ weight + bias``.
    """
    features = rows.features.float()
    counted = (rows.weights / len(features)).float()[:, None]
    wanted = rows.targets.float() * counted
    # The bias is one more column of ones, so that both are one matrix to step.
    inputs = F.pad(features, (0, 1), value=1.0)
    weight = F.pad(start_weights(rows.targets.shape[1], features.shape[1], fit.seed).to(features.device), (0, 1))
    first, second = torch.zeros_like(weight), torch.zeros_like(weight)
    turned = inputs.T.contiguous()
    for step in range(1, fit.steps + 1):
        scores = torch.mm(inputs, weight.T).softmax(dim=1)
        gradient = torch.mm(turned, scores * counted - wanted).T
        weight.mul_(1 - fit.rate * fit.decay)
        first.lerp_(gradient, 1 - 0.9)
        second.mul_(0.999).addcmul_(gradient, gradient, value=1 - 0.999)
        spread = second.sqrt().div_(math.sqrt(1 - 0.999**step)).add_(1e-8)
        weight.addcdiv_(first, spread, value=-fit.rate / (1 - 0.9**step))
    return weight[:, :-1].T.contiguous(), weight[:, -1].clone()
