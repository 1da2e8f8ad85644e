"""Regions from Segment Anything, where its package is installed."""

from __future__ import annotations

from typing import Any

from mmengine.registry import MODELS

from .proposed_regions import ProposedRegions


@MODELS.register_module()
class SAMRegions(ProposedRegions):
    """Automatic masks of ``segment_anything`` as regions; where masks overlap, the smaller one counts.

    Args:
        model: See :class:`~denseclip.models.proposers.SAMMasks`.
        pretrained: See there.
        **options: See there.

    Raises:
        ImportError: If the package is not installed.
    """

    def __init__(self, model: str = 'vit_b', pretrained: str | None = None, **options: Any) -> None:
        super().__init__({'type': 'SAMMasks', 'model': model, 'pretrained': pretrained, **options})
