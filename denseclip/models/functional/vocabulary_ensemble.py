"""Class probabilities of masks from two classifiers: one trained on some classes, and CLIP, which knows any class.

Logits come with a last column "void" (no object), the probabilities without it. All powers and products are sums of
logarithms, so a probability too small for float32 gives zero and never an undefined number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class MaskProbabilities(NamedTuple):
    """Classes of masks, as probabilities: ``class_probs`` and ``no_object`` of a mask add up to one.

    Attributes:
        class_probs: ``(..., Q, K)``.
        no_object: ``(..., Q)``.
    """

    class_probs: Tensor
    no_object: Tensor


def seen_classes(names_per_class: Iterable[Sequence[str]], training_names: Iterable[str]) -> Tensor:
    """Which classes were trained: those with a name that is, letter by letter, among the training names.

    Args:
        names_per_class: All names of each class.
        training_names: All names of all training classes.

    Returns:
        bool (K,), on the CPU.
    """
    known = set(training_names)
    return torch.tensor([not known.isdisjoint(names) for names in names_per_class], dtype=torch.bool, device='cpu')


def geometric_ensemble(
    in_logits: Tensor,
    out_logits: Tensor,
    seen: Tensor,
    alpha: float,
    beta: float,
    valid: Tensor | None = None,
    void_trust: float = 0.0,
) -> MaskProbabilities:
    r"""Classes by the weighted geometric mean of both classifiers.

    :math:`p \propto p_{in}^{1-a} p_{out}^{a}`, with :math:`a = \alpha` for classes seen in training and
    :math:`a = \beta` for new ones; "void" is the first classifier's alone.

    Source: FC-CLIP (Yu et al., NeurIPS 2023), section 3.3, equation 7.

    Args:
        in_logits: Logits of the trained classifier, "void" last.
        out_logits: Logits of CLIP, "void" last.
        seen: bool, see :func:`seen_classes`.
        alpha: Weight of CLIP for seen classes, 0..1.
        beta: Weight of CLIP for new classes, 0..1.
        valid: bool; masks for which it is false are classified by the trained classifier alone. None: all are valid.
        void_trust: How far CLIP's certainty lowers "void", see :func:`corrected_void`.

    Shape:
        - in_logits, out_logits: :math:`(..., Q, K + 1)`
        - seen: :math:`(K,)`
        - valid: :math:`(..., Q)`
    """
    in_logits, out_logits = in_logits.float(), out_logits.float()
    share = torch.where(seen.to(in_logits.device), alpha, beta).to(in_logits.dtype)
    if valid is not None:
        share = share * valid.unsqueeze(-1)
    inside, outside = (F.log_softmax(logits[..., :-1], dim=-1) for logits in (in_logits, out_logits))
    return _with_void((1 - share) * inside + share * outside, in_logits, outside, void_trust)


def out_of_vocabulary(in_logits: Tensor, out_logits: Tensor, void_trust: float = 0.0) -> MaskProbabilities:
    """Classes by CLIP alone; only "void" is the trained classifier's (MAFT+).

    Args:
        in_logits: Logits of the trained classifier, "void" last.
        out_logits: Logits of CLIP, "void" last.
        void_trust: How far CLIP's certainty lowers "void", see :func:`corrected_void`.

    Shape:
        - in_logits, out_logits: :math:`(..., Q, K + 1)`
    """
    scores = F.log_softmax(out_logits[..., :-1].float(), dim=-1)
    return _with_void(scores, in_logits.float(), scores, void_trust)


def corrected_void(log_void: Tensor, log_rest: Tensor, outside: Tensor, trust: float) -> tuple[Tensor, Tensor]:
    r"""Logarithms of "void" and of the rest, after CLIP was asked: :math:`p' = p (1 - t \max_k q_k)`.

    A generator that was trained on some classes takes what it does not know for nothing. Where CLIP is sure of a class,
    there is something.

    Source: OVRCOAT (Kormushev et al., CVPR 2026), its objectness adjustment (COAT).

    Args:
        log_void: Logarithm of the probability of "void", p.
        log_rest: Logarithm of that of all classes together, 1 - p.
        outside: Logarithms of CLIP's class probabilities, q.
        trust: t, 0..1; 0 changes nothing.

    Shape:
        - log_void, log_rest: :math:`(..., Q)`; outside: :math:`(..., Q, K)`
    """
    if not trust:
        return log_void, log_rest
    taken = trust * outside.amax(dim=-1).exp()
    # 1 - p (1 - c) = (1 - p) + p c, so a rest near zero keeps its digits.
    return log_void + torch.log1p(-taken), torch.logaddexp(log_rest, log_void + taken.log())


def _with_void(scores: Tensor, in_logits: Tensor, outside: Tensor, trust: float) -> MaskProbabilities:
    """Softmax of class scores, scaled to what "void" leaves over."""
    log_all = F.log_softmax(in_logits, dim=-1)
    void, rest = corrected_void(log_all[..., -1], torch.logsumexp(log_all[..., :-1], dim=-1), outside, trust)
    return MaskProbabilities((F.log_softmax(scores, dim=-1) + rest[..., None]).exp(), void.exp())
