"""Segment Anything for a whole picture: patches are averaged as its encoder looks, labels refined by its masks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from denseclip.core.placement import Size, resize, size_of
from denseclip.models.prompted_sam import Likeness, PromptedSAM, Refinement, SAMView, refined_labels
from denseclip.models.unsaved import leave_out_of_checkpoints


@MODELS.register_module()
class SAMAggregation(nn.Module):
    """What Trident asks of Segment Anything, for ``sam=`` of a segmentor. Its weights stay out of checkpoints.

    Args:
        source: Folder of SAM for transformers; None: the package ``segment_anything`` makes the next two.
        model: Name in its registry: ``'vit_b'``, ``'vit_l'`` or ``'vit_h'``.
        pretrained: Weight source (see ``denseclip.weights.resolve``).
        sam: A built model of either package instead of these three.
        like: Settings of :class:`~denseclip.models.prompted_sam.Likeness`, which patches are left out.
        refine: Settings of :class:`~denseclip.models.prompted_sam.Refinement`; None: labels stay as they are.
        columns: SAM's encoder sees the picture in so many pieces side by side, for wide ones (Cityscapes: 2).

    Raises:
        ImportError: If the package is not installed.
        ValueError: If a setting makes no sense.
    """

    not_saved_prefixes = ('',)

    def __init__(
        self,
        source: str | Path | None = None,
        model: str = 'vit_b',
        pretrained: str | None = None,
        sam: nn.Module | None = None,
        like: Mapping[str, Any] | None = None,
        refine: Mapping[str, Any] | None = None,
        columns: int = 1,
    ) -> None:
        super().__init__()
        if columns < 1:
            raise ValueError(f'columns={columns}: it must be 1 or more.')
        self.like = Likeness(**(like or {}))
        self.refine = None if refine is None else Refinement(**refine)
        self.columns = columns
        found = sam if sam is not None else PromptedSAM.of(source, model, pretrained, 'SAMAggregation')
        self.sam = found if isinstance(found, PromptedSAM) else PromptedSAM(found)
        leave_out_of_checkpoints(self)

    def aggregate(self, picture: Tensor, size: Size, planes: Tensor) -> tuple[Tensor, SAMView | None]:
        """Planes averaged as SAM looks, and the view of the whole picture where there is one.

        Args:
            picture: RGB in 0..255.
            size: Height and width that SAM is to see it in.
            planes: What is averaged.

        Shape:
            - picture: :math:`(3, H, W)`; planes: :math:`(C, h, w)`; result: :math:`(C, h', w')`, SAM's patches
        """
        if self.columns == 1:
            view = self.sam.see(picture, size)
            return view.attention.average(planes, self.like), view
        found: list[Tensor] = []
        for column in range(self.columns):
            shown, own = (self._column(part, column) for part in (picture, planes))
            width = self._end(size[1], column + 1) - self._end(size[1], column)
            part = self.sam.see(shown, (size[0], width)).attention.average(own, self.like)
            rows = found[0].shape[1] if found else part.shape[1]
            found.append(resize(part, (rows, part.shape[2])))
        return torch.cat(found, dim=2), None

    def _end(self, width: int, column: int) -> int:
        return width * column // self.columns

    def _column(self, planes: Tensor, column: int) -> Tensor:
        width = size_of(planes)[1]
        return planes[..., self._end(width, column) : self._end(width, column + 1)]

    def refined(self, labels: Tensor, scores: Tensor, view: SAMView) -> Tensor:
        """Labels after SAM's masks.

        Args:
            labels: Label map.
            scores: Probabilities of the classes.
            view: What SAM sees of the picture, such as :meth:`aggregate` gives.

        Shape:
            - labels and result: :math:`(H, W)`; scores: :math:`(K, H, W)`
        """
        if self.refine is None:
            return labels
        return refined_labels(labels, scores, self.sam, view, self.refine)
