"""Masks from SAM, SAM 2, SAM 3 or EoMT of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.registry import MODELS
from torch import Tensor

from denseclip.models.transformers_finder import TransformersFinder

from .base import PictureProposer


@MODELS.register_module()
class TransformersMasks(PictureProposer):
    """Masks of everything, overlapping as they come, with the model's own estimate of each.

    Args:
        source: Folder of the model, see :class:`TransformersFinder`.
        **options: See :class:`TransformersFinder`.

    Raises:
        ImportError: If transformers is not installed, or too old.
    """

    def __init__(self, source: str | Path, **options: Any) -> None:
        super().__init__()
        self.finder = TransformersFinder(source, **options)

    def find(self, picture: Tensor, meta: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
        """See :meth:`PictureProposer.find`."""
        del meta
        return self.finder.find(picture)
