"""WinCLIP: zero-/few-shot anomaly classification and segmentation (Jeong et al., CVPR 2023), a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor

from denseclip.clip.blocks import run_block
from denseclip.clip.towers import DenseReadOut
from denseclip.clip.towers.vit import ViTTower
from denseclip.core.precision import full_precision
from denseclip.models.functional.anomaly_scores import abnormal_probability, upsample
from denseclip.models.functional.anomaly_windows import (
    harmonic_mean,
    harmonic_over_windows,
    visual_association,
    window_patches,
)

from .answers import PictureScore, content_key
from .base import AnomalyModel, in_parts
from .state_text import StateText


@dataclass
class WindowFeatures:
    """Embeddings of pictures at all scales.

    Attributes:
        grid: Height and width of the patch grid.
        pooled: Image embeddings (N, E).
        patches: Patch tokens after the last norm, not projected, (N, hw, C).
        windows: Embeddings of the windows of each side, (N, W, E).
    """

    grid: tuple[int, int]
    pooled: Tensor
    patches: Tensor
    windows: dict[int, Tensor]

    @classmethod
    def joined(cls, parts: Sequence[WindowFeatures]) -> WindowFeatures:
        """Several pictures of one grid as one."""
        windows = {side: torch.cat([part.windows[side] for part in parts]) for side in parts[0].windows}
        pooled, patches = (torch.cat([getattr(part, name) for part in parts]) for name in ('pooled', 'patches'))
        return cls(parts[0].grid, pooled, patches, windows)

    def some(self, numbers: Sequence[int]) -> WindowFeatures:
        """Those pictures alone."""
        taken = list(numbers)
        windows = {side: values[taken] for side, values in self.windows.items()}
        return WindowFeatures(self.grid, self.pooled[taken], self.patches[taken], windows)


@MODELS.register_module()
class WinCLIP(AnomalyModel):
    """Windows of patches, each a picture of its own to the transformer, scored against the two states.

    Zero-shot: harmonic means of the window scores, over the windows that hold a patch and over the scales (the whole
    picture included). With :meth:`set_references` (WinCLIP+) half the map is the distance from normal pictures.

    Args:
        clip: See :class:`AnomalyModel`; a CLIP vision transformer, the paper's is ViT-B-16-plus-240.
        prompts: See :class:`AnomalyModel`.
        scales: Sides of the windows in patches.
        temperature: Of the softmax over the two cosines.
        windows_per_pass: Most windows in one pass through the blocks; bounds memory.
        **kwargs: Arguments of :class:`AnomalyModel`.
    """

    image_tower: ViTTower
    stacks_references = True
    """References come as one tensor: all pictures have one size."""

    def __init__(
        self,
        clip: Any,
        prompts: str | Mapping[str, Any] = 'winclip',
        scales: Sequence[int] = (2, 3),
        temperature: float = 0.07,
        windows_per_pass: int = 64,
        **kwargs: Any,
    ) -> None:
        read_out = DenseReadOut(dense=False, pos_resize='bicubic', antialias=True)
        super().__init__(clip, prompts, read_out=read_out, **kwargs)
        if not isinstance(self.image_tower, ViTTower):
            raise ValueError(
                f"WinCLIP needs CLIP's vision transformer with its class token, got {type(self.image_tower).__name__}."
            )
        self.scales, self.temperature, self.windows_per_pass = tuple(scales), temperature, windows_per_pass
        self.references: WindowFeatures | None = None
        self._reference_keys: list[str] = []

    @torch.no_grad()
    def set_references(self, images: Tensor | None) -> None:
        """Give normal pictures of the object for the few-shot map (WinCLIP+).

        Args:
            images: Normalised pictures (K, 3, H, W), equal ones count once; None goes back to zero-shot. One of several
                that is looked at itself is compared with the others.
        """
        keyed = {} if images is None else {content_key(image): image for image in images}
        self._reference_keys = list(keyed)
        parts = None if images is None else [self.embed(image[None]) for image in keyed.values()]
        self.references = None if parts is None else WindowFeatures.joined(parts)

    def score_picture(self, image: Tensor, name: str) -> PictureScore:
        """Raw map and score of one picture (1, 3, H, W)."""
        text, features = self.text_of(name), self.embed(image)
        with full_precision(image.device.type):
            scores = self._probability(features.pooled, text)
            pixels = self.zero_shot_map(features, text)
            references = self._references_but(image)
            if references is not None:
                few_shot = self.few_shot_map(features, references)
                pixels = (pixels + few_shot) / 2
                scores = (scores + few_shot.amax(dim=(-2, -1))) / 2
            size = (image.shape[-2], image.shape[-1])
            return PictureScore(upsample(pixels[:, None], size, align_corners=False)[0, 0], scores[0])

    def _references_but(self, image: Tensor) -> WindowFeatures | None:
        """The references without the picture itself, if there are others."""
        if self.references is None or not self._reference_keys:
            return self.references
        own = content_key(image[0])
        others = [number for number, key in enumerate(self._reference_keys) if key != own]
        return self.references.some(others) if 0 < len(others) < len(self._reference_keys) else self.references

    def embed(self, images: Tensor) -> WindowFeatures:
        """Embeddings of pictures (N, 3, H, W) at all scales."""
        x, grid = self.image_tower.embed(images)
        windows = {side: self._window_embeddings(x, grid, side) for side in self.scales}
        for block in self.image_tower.visual.transformer.resblocks:
            x = run_block(block, x)
        pooled = self.image_tower.pool(x).float()
        return WindowFeatures(grid, pooled, self.image_tower.after_blocks(x[:, 1:]).float(), windows)

    def _window_embeddings(self, x: Tensor, grid: tuple[int, int], side: int) -> Tensor:
        """Image embeddings of all windows, each seen alone: class token and the window's patches, (N, W, E)."""
        index = window_patches(grid, side, x.device)
        patches = x[:, 1:][:, index.transpose(0, 1)]
        tokens = torch.cat([x[:, None, :1].expand(-1, patches.shape[1], -1, -1), patches], dim=2)
        parts = []
        for part in in_parts(tokens.flatten(0, 1), self.windows_per_pass):
            parts.append(self.image_tower.pooled_of_tokens(part))
        return torch.cat(parts).float().unflatten(0, tokens.shape[:2])

    def _probability(self, embeddings: Tensor, text: StateText) -> Tensor:
        return abnormal_probability(embeddings, text.states, self.temperature)

    def zero_shot_map(self, features: WindowFeatures, text: StateText) -> Tensor:
        """Harmonic mean over the scales, (N, h, w)."""
        image = self._probability(features.pooled, text)[:, None, None]
        maps = [
            harmonic_over_windows(self._probability(windows, text), features.grid, side)
            for side, windows in features.windows.items()
        ]
        return harmonic_mean([image.expand(-1, *features.grid), *maps])

    def few_shot_map(self, features: WindowFeatures, references: WindowFeatures) -> Tensor:
        """Mean distance from the nearest reference over patches and windows, (N, h, w)."""
        device = features.patches.device
        maps = [visual_association(features.patches, references.patches.to(device)).unflatten(1, features.grid)]
        for side, windows in features.windows.items():
            distances = visual_association(windows, references.windows[side].to(device))
            maps.append(harmonic_over_windows(distances, features.grid, side))
        return torch.stack(maps).mean(dim=0)
