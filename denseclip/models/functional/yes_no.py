"""Two texts per class, "this" and "not this", and what they say about pictures of no class.

Source: CLIPN (Wang et al., "CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No", ICCV 2023).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

RULES = ('agree', 'compete')
"""Agreeing to differ (ATD) and competing to win (CTW)."""


def yes_probability(logits: Tensor, logits_no: Tensor) -> Tensor:
    """Probability of "this" against "not this", for each class by itself.

    Args:
        logits: Scaled cosines with the classes.
        logits_no: Scaled cosines with their negations, of the same shape.
    """
    return (logits - logits_no).sigmoid()


def competing_to_win(logits: Tensor, logits_no: Tensor, dim: int = 1) -> Tensor:
    """How sure it is that something is of a known class: what its best class says about itself, 0..1.

    Known is what reaches 0.5 (CLIPN, section 3.4).

    Shape:
        - logits, logits_no: :math:`(N, K, ...)`; result: :math:`(N, ...)`
    """
    best = logits.argmax(dim=dim, keepdim=True)
    return yes_probability(logits, logits_no).gather(dim, best).squeeze(dim)


def agreeing_to_differ(logits: Tensor, logits_no: Tensor, dim: int = 1) -> Tensor:
    """How sure it is that something is of a known class: all classes vote on themselves, 0..1.

    One minus it is the probability of the unknown class, which competes with the others (CLIPN, section 3.4).

    Shape:
        - logits, logits_no: :math:`(N, K, ...)`; result: :math:`(N, ...)`
    """
    return (logits.softmax(dim=dim) * yes_probability(logits, logits_no)).sum(dim=dim)


def with_unknown(logits: Tensor, logits_no: Tensor, rule: str = 'agree', dim: int = 1) -> Tensor:
    """Scores of the classes and, last, of what is none of them; the highest wins.

    Args:
        logits: Scaled cosines with the classes.
        logits_no: Scaled cosines with their negations.
        rule: ``'agree'``: probabilities that sum to one, the classes' times what each says about itself.
            ``'compete'``: the best class and the unknown alone divide the best class's probability, as it says about
            itself; the other classes keep theirs of that share.
        dim: Dimension of the classes.

    Raises:
        ValueError: If the rule is unknown.

    Shape:
        - logits, logits_no: :math:`(N, K, ...)`; result: :math:`(N, K + 1, ...)`
    """
    probabilities = logits.softmax(dim=dim)
    if rule == 'agree':
        known = probabilities * yes_probability(logits, logits_no)
        return torch.cat([known, 1 - known.sum(dim=dim, keepdim=True)], dim=dim)
    if rule != 'compete':
        raise ValueError(f"rule='{rule}' is unknown; choose from {', '.join(RULES)}.")
    sure = competing_to_win(logits, logits_no, dim).unsqueeze(dim)
    best = probabilities.amax(dim=dim, keepdim=True)
    return torch.cat([probabilities * sure, best * (1 - sure)], dim=dim)


@dataclass(frozen=True)
class YesNoLosses:
    """Losses of the text tower that says no, each a scalar.

    Attributes:
        yes: A picture's own text is "this": mean over the pairs.
        no: A text of another picture is "not this": mean over all other pairs.
        opposite: The two texts of a picture are far from each other.
    """

    yes: Tensor
    no: Tensor
    opposite: Tensor

    def total(self, weight: float = 0.5) -> Tensor:
        """Weighted sum, a scalar."""
        return weight * (self.yes + self.no + self.opposite)


def yes_no_losses(
    images: Tensor,
    texts: Tensor,
    texts_no: Tensor,
    scale: Tensor | float,
    *,
    epsilon: float = 1e-4,
    cosine: bool = False,
    others: Tensor | None = None,
) -> YesNoLosses:
    """CLIPN's losses over a batch of pairs.

    Args:
        images: Unit-length embeddings of pictures.
        texts: Unit-length embeddings of their texts.
        texts_no: Unit-length embeddings of the same texts by the tower that says no.
        scale: Factor of the cosines.
        epsilon: Under the root of the distance, so that equal texts have a gradient.
        cosine: Take ``1 + cosine`` as closeness of opposite texts instead of two minus their distance.
        others: Which texts are false of which pictures, bool; None: all but their own.

    Shape:
        - images, texts, texts_no: :math:`(B, E)`; others: :math:`(B, B)`
    """
    logits, logits_no = scale * images @ texts.T, scale * images @ texts_no.T
    own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    cosines = (texts * texts_no).sum(dim=-1)
    close = 1 + cosines if cosine else 2 - (2 - 2 * cosines + epsilon).sqrt()
    others = ~own if others is None else others
    denied = -F.logsigmoid(logits_no - logits)[others]
    return YesNoLosses(
        yes=-F.logsigmoid(logits - logits_no)[own].mean(),
        no=denied.sum() / others.sum().clamp_min(1),  # 0 where all captions are true of all pictures
        opposite=close.mean(),
    )
