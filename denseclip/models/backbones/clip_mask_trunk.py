"""One CLIP image tower for both uses of a mask model: a pyramid for the mask generator, embeddings for its masks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from denseclip.clip.towers import (
    ConvTrunkTower,
    DenseReadOut,
    ImageTower,
    ResNetTower,
    TowerOutput,
    attention_pool,
    masked_attention_pool,
)
from denseclip.models.functional.mask_pooling import activation_pool, mask_pool

from .clip_vit import feature_pyramid

# Into the joint space: never trained, so that the space stays that of the text.
_PROJECTIONS = ('head.', 'trunk.head.', 'attnpool.', 'ln_post.', 'proj')


@dataclass(frozen=True)
class TrunkFeatures:
    """What the trunk sees in pictures.

    Attributes:
        stages: Maps for the mask generator, strides 4, 8, 16, 32; what is learnt from them does not reach CLIP, unless
            the trunk says so.
        last: The map that masks are pooled from, (N, C, h, w): that of stride 32, or a transformer's pixel embeddings.
    """

    stages: tuple[Tensor, ...]
    last: Tensor


class CLIPMaskTrunk(nn.Module):
    """CLIP's image tower, shared by a mask generator and the classification of its masks.

    ConvNeXts and other convolutional timm trunks pool their last map under each mask and project the mean; ResNets let
    CLIP's attention pool look at the mask's pixels only; vision transformers pool their pixel embeddings, and their one
    resolution becomes a pyramid by four small branches, which are trained with the generator.

    Source: FC-CLIP (Yu et al., NeurIPS 2023), sections 3.2 and 3.3; the pyramid is ViTDet's (Li et al., ECCV 2022) in
    the form of DenseCLIP's.

    Args:
        tower: The tower; :meth:`read_out_for` gives the read-out that it needs.

    Attributes:
        out_channels: Channels of the four stages.
        stages_teach: Whether what the generator learns from the stages reaches CLIP.
    """

    def __init__(self, tower: ImageTower) -> None:
        super().__init__()
        self.tower = tower
        self.stages_teach = False
        self.is_transformer = not isinstance(tower, ConvTrunkTower | ResNetTower)
        self.out_channels = list(tower.stage_channels)
        self.pyramid: nn.ModuleList | None = None
        if self.is_transformer:
            width, patch = tower.stage_channels[-1], tower.stage_strides[-1]
            # A batch norm would make training depend on the batch; GroupNorm(1) is the norm of the other branches.
            self.pyramid = nn.ModuleList(feature_pyramid(width, patch, dict(type='GN', num_groups=1)))
            self.out_channels = [width] * 4
        elif tower.stage_strides != (4, 8, 16, 32):
            raise ValueError(
                f'{type(tower).__name__} has stages of strides {tower.stage_strides}; a mask generator needs '
                '4, 8, 16 and 32.'
            )
        self.freeze()

    @staticmethod
    def read_out_for(visual: nn.Module, given: DenseReadOut) -> DenseReadOut:
        """The read-out with the stages that the trunk needs: all four, or a transformer's last block.

        Args:
            visual: open_clip's image tower.
            given: Other settings, such as the attention of a transformer's last block.
        """
        blocks = getattr(getattr(visual, 'transformer', None), 'resblocks', None)
        blocks = getattr(getattr(visual, 'trunk', None), 'blocks', blocks)
        stages: tuple[int, ...] | None = None if blocks is None else (len(blocks) - 1,)
        return replace(given, out_indices=stages, dense=blocks is not None, pooled=False)

    @property
    def embed_dim(self) -> int:
        """Size of the joint space."""
        return self.tower.embed_dim

    def freeze(self) -> None:
        """Train nothing of CLIP (FC-CLIP)."""
        self.tower.requires_grad_(False)

    def unfreeze(self) -> None:
        """Train CLIP up to the projection into the joint space, which stays (MAFT+)."""
        fixed = (*_PROJECTIONS, *self._without_use())
        for name, parameter in self.tower.visual.named_parameters():
            parameter.requires_grad_(not name.startswith(fixed))

    def _without_use(self) -> list[str]:
        """Feed-forward branches that a transformer's read-out leaves out, so that nothing trains them."""
        read_out, visual = self.tower.read_out, self.tower.visual
        count = len(getattr(getattr(visual, 'transformer', None), 'resblocks', ()))
        if read_out.ffn or not count:
            return []
        last = range(count - read_out.layers, count)
        return [f'transformer.resblocks.{i}.{part}' for i in last for part in ('ln_2.', 'mlp.', 'ls_2.')]

    def forward(self, images: Tensor) -> TrunkFeatures:
        """Run the tower once.

        Args:
            images: Normalised pictures, sides multiples of 32.

        Shape:
            - images: :math:`(N, 3, H, W)`
        """
        out = self.tower(images)
        last = self.last_of(out)
        stages = out.stages if self.stages_teach else [stage.detach() for stage in out.stages]
        if self.pyramid is None:
            return TrunkFeatures(tuple(stages), last)
        tokens = stages[-1].contiguous()
        return TrunkFeatures(tuple(branch(tokens) for branch in self.pyramid), last)

    def last_of(self, out: TowerOutput) -> Tensor:
        """The map that masks are pooled from, of this tower or of one like it."""
        if not self.is_transformer:
            return out.stages[-1]
        assert out.dense is not None
        return out.dense

    def embed_masks(self, features: TrunkFeatures, mask_logits: Tensor) -> Tensor:
        """Embedding of what is under each mask, in the joint space, not normalised.

        Args:
            features: Of the pictures.
            mask_logits: Masks of any resolution; no gradient flows into them.

        Shape:
            - mask_logits: :math:`(N, Q, h, w)`; result: :math:`(N, Q, E)`
        """
        tower: Any = self.tower
        if isinstance(tower, ResNetTower):
            masks = self.masks_at(features, mask_logits) > 0
            read_out = tower.read_out
            pool = tower.visual.attnpool
            return masked_attention_pool(
                pool, features.last, masks, pos_resize=read_out.pos_resize, antialias=read_out.antialias
            )
        pooled = mask_pool(features.last, mask_logits)
        return pooled if self.is_transformer else tower.embed(pooled)

    def embed_activations(self, features: TrunkFeatures, maps: Tensor) -> Tensor:
        """Mean embedding of what each of the maps of a mask looks at, in the joint space, not normalised.

        Args:
            features: Of the pictures.
            maps: Of :class:`MaskAdapter`, at the resolution of the last map.

        Raises:
            ValueError: For a ResNet, whose attention pool takes pixels, not means.

        Shape:
            - maps: :math:`(N, Q, M, h, w)`; result: :math:`(N, Q, E)`
        """
        tower: Any = self.tower
        if isinstance(tower, ResNetTower):
            raise ValueError('a ResNet pools by attention and has no use for maps: take a ConvNeXt or a transformer.')
        pooled = activation_pool(features.last, maps.flatten(1, 2))
        embedded = pooled if self.is_transformer else tower.embed(pooled)
        return embedded.unflatten(1, maps.shape[1:3]).mean(dim=2)

    def embed_pixels(self, features: TrunkFeatures, scrambled: bool = False) -> Tensor:
        """Embedding of every pixel of the last map, in the joint space, not normalised.

        Args:
            features: Of the pictures.
            scrambled: Cut the map into vectors as it lies in memory, so that a "pixel" is made of neighbouring pixels
                of some channels. A slip of MAFT+'s code, which its released weights were trained with.

        Raises:
            ValueError: ``scrambled`` for another tower than a convolutional timm trunk.

        Shape:
            - result: :math:`(N, E, h, w)`
        """
        tower: Any = self.tower
        last = features.last
        if scrambled and not isinstance(tower, ConvTrunkTower):
            raise ValueError(f'no weights were trained with scrambled pixels of a {type(tower).__name__}.')
        if isinstance(tower, ConvTrunkTower):
            shape = (last.shape[0], -1, last.shape[1])
            pixels = last.reshape(shape) if scrambled else last.flatten(2).transpose(1, 2)
            return tower.embed(pixels).transpose(1, 2).unflatten(2, last.shape[-2:])
        if isinstance(tower, ResNetTower):
            read_out = tower.read_out
            return attention_pool(
                tower.visual.attnpool, last, pos_resize=read_out.pos_resize, antialias=read_out.antialias
            )[1]
        return last

    @staticmethod
    def masks_at(features: TrunkFeatures, mask_logits: Tensor) -> Tensor:
        """Mask logits at the resolution of the map that they are pooled from, without gradient."""
        size = features.last.shape[-2:]
        masks = mask_logits.detach()
        if masks.shape[-2:] == size:
            return masks
        return F.interpolate(masks.float(), size=size, mode='bilinear', align_corners=False)
