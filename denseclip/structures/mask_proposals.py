"""Class-agnostic masks of pictures: what a mask generator gives, whatever it is, and what a mask classifier takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor


@dataclass(frozen=True)
class MaskProposals:
    """Masks of a batch of pictures, with what their maker knows about their classes.

    The masks cover the batch as the maker saw it, padding included, at any resolution: a mask of ``(h, w)`` is
    stretched over the whole input. Pictures with fewer masks than others are filled up with masks whose logits are
    very negative everywhere; nothing downstream counts such a mask.

    Attributes:
        mask_logits: Logits of the masks; ``sigmoid`` of them is the share of a pixel that the mask takes, 0..1.
        class_embeddings: One embedding per mask in the joint space of pictures and text, not normalised; None if the
            maker knows nothing about classes.
        scores: How sure the maker is that a mask is one thing, 0..1; None if it does not say.

    Shape:
        - mask_logits: :math:`(N, Q, h, w)`
        - class_embeddings: :math:`(N, Q, D)`
        - scores: :math:`(N, Q)`
    """

    mask_logits: Tensor
    class_embeddings: Tensor | None = None
    scores: Tensor | None = None

    def __post_init__(self) -> None:
        if self.mask_logits.ndim != 4:
            raise ValueError(f'mask_logits must be (N, Q, h, w), got {tuple(self.mask_logits.shape)}.')
        count = tuple(self.mask_logits.shape[:2])
        for name in ('class_embeddings', 'scores'):
            value = getattr(self, name)
            if value is not None and tuple(value.shape[:2]) != count:
                raise ValueError(f'{name} is for {tuple(value.shape[:2])} masks, but there are {count} (N, Q).')


class MaskProposer(Protocol):
    """Finds masks in pictures: a trained head, Segment Anything, any detector, superpixels, or files."""

    def __call__(self, images: Tensor, metas: Sequence[Mapping[str, Any]]) -> MaskProposals:
        """Masks of a batch.

        Args:
            images: RGB in 0..255, padded at the right and bottom to one size. A proposer normalises them itself.
            metas: Meta information of each (``img_path``, ``img_shape`` without padding, ``ori_shape`` ...).

        Shape:
            - images: :math:`(N, 3, H, W)`
        """
        ...
