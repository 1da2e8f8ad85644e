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
    in_logits: Tensor, out_logits: Tensor, seen: Tensor, alpha: float, beta: float, valid: Tensor | None = None
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
    return _with_void((1 - share) * inside + share * outside, in_logits)


def out_of_vocabulary(in_logits: Tensor, out_logits: Tensor) -> MaskProbabilities:
    """Classes by CLIP alone; only "void" is the trained classifier's (MAFT+).

    Args:
        in_logits: Logits of the trained classifier, "void" last.
        out_logits: Logits of CLIP, "void" last.

    Shape:
        - in_logits, out_logits: :math:`(..., Q, K + 1)`
    """
    return _with_void(out_logits[..., :-1].float(), in_logits.float())


def _with_void(scores: Tensor, in_logits: Tensor) -> MaskProbabilities:
    """Softmax of class scores, scaled to what "void" leaves over."""
    log_all = F.log_softmax(in_logits, dim=-1)
    log_rest = torch.logsumexp(log_all[..., :-1], dim=-1, keepdim=True)
    return MaskProbabilities((F.log_softmax(scores, dim=-1) + log_rest).exp(), log_all[..., -1].exp())
