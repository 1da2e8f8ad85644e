"""Proposers that look at one picture at a time and give masks with hard edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn

from denseclip.core.placement import Placement, size_of
from denseclip.structures.mask_proposals import MaskProposals

SURE = 12.0
"""Logit of a pixel in a mask with hard edges, a share of 0.999994; outside it is negative."""


class PictureProposer(nn.Module):
    """Base of proposers for which a batch is just several pictures. Subclasses override :meth:`find`."""

    def find(self, picture: Tensor, meta: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
        """Masks of one picture.

        Args:
            picture: RGB in 0..255, uint8, without padding.
            meta: Meta information of the data sample.

        Returns:
            Boolean masks of any size, stretched over the picture, and how sure the program is of each, 0..1.

        Shape:
            - picture: :math:`(H, W, 3)`; masks: :math:`(Q, h, w)`; scores: :math:`(Q,)`
        """
        raise NotImplementedError

    @torch.no_grad()
    def forward(self, images: Tensor, metas: Sequence[Mapping[str, Any]]) -> MaskProposals:
        """See :class:`~denseclip.structures.MaskProposer`; masks have the size of the input."""
        planes, scores = [], []
        for image, meta in zip(images, metas, strict=True):
            placement = Placement.of(meta, size_of(image))
            picture = placement.cut(image).round().clamp(0, 255).byte().permute(1, 2, 0)
            masks, sure = self.find(picture, meta)
            plane = image.new_zeros((len(masks), *image.shape[1:]))
            if len(masks):
                masks = masks.to(device=image.device, dtype=image.dtype)
                if masks.shape[1:] != picture.shape[:2]:
                    masks = F.interpolate(masks[:, None], size=picture.shape[:2], mode='nearest-exact')[:, 0]
                placement.cut(plane)[:] = masks
            planes.append(plane)
            scores.append(image.new_ones(len(masks)) if sure is None else sure.to(image))
        count = max(1, *(len(masks) for masks in planes))
        logits = torch.stack([F.pad(p, (0, 0, 0, 0, 0, count - len(p))) for p in planes]).mul_(2 * SURE).sub_(SURE)
        return MaskProposals(logits, scores=torch.stack([F.pad(s, (0, count - len(s))) for s in scores]))


def model_of_file(path: str | Path) -> Mapping[str, Any]:
    """The model of a config file: command lines can name a file, but not write a nested config.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it describes no model.
    """
    config = Config.fromfile(str(path))
    if 'model' not in config:
        raise ValueError(f"'{path}' describes no model; give the config of a training.")
    return config.model
