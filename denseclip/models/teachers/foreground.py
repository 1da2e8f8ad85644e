"""FOUND as a teacher: where the objects are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from denseclip.core.placement import pad_to_multiple
from denseclip.models.builder import build_module
from denseclip.models.functional.found_seed import background_seed
from denseclip.models.functional.pictures import normalize_pictures
from denseclip.weights import load_into, read_state_dict, resolve, weight_file
from denseclip.weights.convert import convert

from .base import Teacher
from .dino import DINOFeatures, DINOTower


class ForegroundTeacher(Teacher):
    """A network that says for each place how likely it belongs to an object.

    Args:
        tower: DINO whose last layer is read.
        antialias: Low-pass filter when the map shrinks to the asked grid. The authors' environment had none; newer
            versions of torchvision would add it.
    """

    tower: DINOTower

    def __init__(self, tower: Mapping[str, Any] | nn.Module, antialias: bool = False) -> None:
        super().__init__()
        self.tower = build_module(tower)
        self.antialias = antialias

    def read(self, images: Tensor, *, attention: bool = False) -> DINOFeatures:
        """What the tower says about pictures in [0, 1] (RGB), padded with black to whole patches."""
        padded = pad_to_multiple(images, self.tower.patch_size)
        return self.tower(normalize_pictures(padded, self.tower.preprocess), attention=attention)

    def foreground(self, images: Tensor) -> Tensor:
        """Foreground probabilities at the tower's own stride, (N, 1, h', w')."""
        raise NotImplementedError

    @torch.no_grad()
    def forward(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """Foreground probabilities on a grid.

        Args:
            images: RGB in [0, 1].
            grid: Height and width of the result.

        Shape:
            - images: :math:`(N, 3, H, W)`; result: :math:`(N, 1, h, w)`
        """
        probabilities = self.foreground(images)
        if probabilities.shape[-2:] == grid:
            return probabilities
        return F.interpolate(probabilities, size=grid, mode='bilinear', align_corners=False, antialias=self.antialias)


@MODELS.register_module()
class FOUNDTeacher(ForegroundTeacher):
    """FOUND: one 1x1 convolution on the keys of a frozen DINO.

    Source: FOUND (Siméoni et al., CVPR 2023), section 3.2.

    Args:
        tower: DINO (ViT-S/8 for the authors' weights).
        pretrained: Weight source of the convolution: the authors' ``decoder_weights.pt``, or ours, read at the first
            use. None leaves it fresh.
        antialias: See :class:`ForegroundTeacher`.
    """

    def __init__(
        self, tower: Mapping[str, Any] | nn.Module, pretrained: str | None = None, antialias: bool = False
    ) -> None:
        super().__init__(tower, antialias)
        self.decoder = nn.Conv2d(self.tower.embed_dim, 1, kernel_size=1)
        self.pretrained = pretrained
        self.eval().requires_grad_(False)

    def read_weights(self) -> None:
        """Read ``pretrained``."""
        if self.pretrained is not None:
            path = weight_file(resolve(self.pretrained))
            load_into(self.decoder, convert(read_state_dict(path), 'found'), source=path)

    def logits(self, images: Tensor) -> Tensor:
        """Foreground logits at the tower's own stride, (N, 1, h', w'); positive on objects."""
        self.need_weights()
        return self.decoder(self.read(images).key)

    def foreground(self, images: Tensor) -> Tensor:
        """See :meth:`ForegroundTeacher.foreground`."""
        return self.logits(images).sigmoid()


@MODELS.register_module()
class FOUNDSeedTeacher(ForegroundTeacher):
    """FOUND's first step alone: what does not look like the place that is attended to least. Needs no training.

    For a DINO of one's own, for which there is no trained decoder.

    Args:
        tower: DINO.
        threshold: Cosine with the seed above which a place is background, in [-1, 1].
        antialias: See :class:`ForegroundTeacher`.
    """

    def __init__(self, tower: Mapping[str, Any] | nn.Module, threshold: float = 0.3, antialias: bool = False) -> None:
        super().__init__(tower, antialias)
        self.threshold = threshold

    def background(self, images: Tensor) -> Tensor:
        """Background at the tower's own stride, (N, 1, h', w'), bool."""
        answer = self.read(images, attention=True)
        assert answer.attention is not None
        return background_seed(answer.key, answer.attention, self.tower.heads, self.threshold)

    def foreground(self, images: Tensor) -> Tensor:
        """See :meth:`ForegroundTeacher.foreground`."""
        return (~self.background(images)).to(images.dtype)
