"""DINO's vision transformers, read at the last layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import timm
import torch
from mmengine.registry import MODELS
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import PatchEmbed
from torch import Tensor

from denseclip.clip.preprocess import PreprocessSpec
from denseclip.clip.timm_blocks import is_known_timm_block, timm_attention_input, timm_projections
from denseclip.clip.towers import rotary_table
from denseclip.weights import load_into, read_state_dict, resize_positions, resolve, weight_file
from denseclip.weights.convert import convert

from .base import LazyModule

POSITION_OFFSET = 0.1
"""DINO samples its positions at scale (n + 0.1) / side, see :func:`denseclip.weights.resize_positions`."""


@dataclass
class DINOFeatures:
    """What the last layer of a DINO says about the patches of a batch.

    Attributes:
        query: Queries of the last attention, heads one after another, (N, C, h, w).
        key: Keys, likewise.
        value: Values, likewise.
        attention: Attention of the class token to the patches, (N, heads, hw); None if not asked for.
        tokens: Patch tokens after the final norm, (N, C, h, w); None if not asked for.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    attention: Tensor | None = None
    tokens: Tensor | None = None


@MODELS.register_module()
class DINOTower(LazyModule):
    """A frozen timm vision transformer with an explicit walk over its blocks, for pictures of any size.

    Args:
        model_name: timm's name of the architecture (``'vit_base_patch16_224'``); any ``VisionTransformer`` of timm
            works (DINO, DINOv2 with or without registers), and its ``Eva`` with rotary positions for one grid at a time
            (DINOv3, ``'vit_small_patch16_dinov3'``).
        pretrained: Weight source (see ``denseclip.weights.resolve``): the files of DINO, DINOv2 and DINOv3, timm's, or
            ours, read at the first use. None leaves fresh weights.
        trust: See :func:`denseclip.weights.read_state_dict`.
        position_offset: Rule of the positions at other sizes; DINO and DINOv2 (without registers) use 0.1.
        **options: Further arguments of the architecture (``img_size``, ``embed_dim``, ``depth`` ...).

    Raises:
        ValueError: If the architecture is no plain vision transformer.
    """

    preprocess = PreprocessSpec(mean=IMAGENET_DEFAULT_MEAN, std=IMAGENET_DEFAULT_STD)

    def __init__(
        self,
        model_name: str = 'vit_base_patch16_224',
        pretrained: str | None = None,
        trust: bool = False,
        position_offset: float = POSITION_OFFSET,
        **options: Any,
    ) -> None:
        super().__init__()
        if model_name.startswith('local-dir:'):
            model_name = f'local-dir:{resolve(model_name)}'
        vit: Any = timm.create_model(model_name, pretrained=False, num_classes=0, **options)
        blocks: Any = getattr(vit, 'blocks', ())
        if not len(blocks) or not is_known_timm_block(blocks[-1]) or _unusual(vit):
            raise ValueError(f"DINOTower needs a plain vision transformer of timm; '{model_name}' is none.")
        self.vit = vit
        self.position_offset, self.pretrained, self.trust = position_offset, pretrained, trust
        self.eval().requires_grad_(False)

    def read_weights(self) -> None:
        """Read ``pretrained``.

        Raises:
            FileNotFoundError: If it is not there.
            WeightMismatchError: If it is another network's.
        """
        if self.pretrained is not None:
            path = weight_file(resolve(self.pretrained))
            state, own = convert(read_state_dict(path, trust=self.trust), 'dino'), self.vit.state_dict()
            # Most DINOv3 have biases of zeros, and timm makes such models with and without them.
            idle = [k for k, v in state.items() if k not in own and k.endswith(('q_bias', 'v_bias')) and not v.any()]
            load_into(self.vit, {k: v for k, v in state.items() if k not in idle}, source=path)

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        patch_embed: Any = self.vit.patch_embed
        return int(patch_embed.patch_size[0])

    @property
    def heads(self) -> int:
        """Attention heads."""
        return int(self.vit.blocks[-1].attn.num_heads)

    @property
    def embed_dim(self) -> int:
        """Size C of a token."""
        return int(self.vit.embed_dim)

    def train(self, mode: bool = True) -> DINOTower:
        """Stay in evaluation mode."""
        del mode
        return super().train(False)

    def forward(self, images: Tensor, *, attention: bool = False, tokens: bool = False) -> DINOFeatures:
        """Read the last layer.

        Args:
            images: Pictures normalised with :attr:`preprocess`, (N, 3, H, W); what exceeds a multiple of the patch
                at the right and bottom is cut.
            attention: Also compute the class token's attention.
            tokens: Also run the last block to its end.
        """
        self.need_weights()
        x, grid = self._embed(images)
        extra = self._rotary(grid)
        for block in self.vit.blocks[:-1]:
            x = block(x, **extra)
        last, prefix = self.vit.blocks[-1], self.vit.num_prefix_tokens
        normed = timm_attention_input(last, x)
        heads = timm_projections(last.attn, normed)  # not turned by their places: features are compared by content
        out = DINOFeatures(*(_to_map(t[:, :, prefix:].transpose(1, 2).flatten(2), grid) for t in heads))
        if attention:
            q, k, _ = timm_projections(last.attn, normed, **extra)
            scores = (q[:, :, :1] @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
            out.attention = scores.softmax(dim=-1)[:, :, 0, prefix:]
        if tokens:
            out.tokens = _to_map(self.vit.norm(last(x, **extra))[:, prefix:], grid)
        return out

    def _rotary(self, grid: tuple[int, int]) -> dict[str, Tensor]:
        """Sines and cosines for a grid, as the blocks take them; nothing without rotary positions."""
        rope: Any = getattr(self.vit, 'rope', None)
        return {} if rope is None else {'rope': rotary_table(rope, grid)}

    def _embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Special tokens and patches with positions, (N, prefix + hw, C), and the grid (h, w)."""
        vit: Any = self.vit
        patches = vit.patch_embed.proj(images)
        grid = (patches.shape[-2], patches.shape[-1])
        x = vit.patch_embed.norm(patches.flatten(2).transpose(1, 2))
        special = [t.expand(x.shape[0], -1, -1) for t in (vit.cls_token, vit.reg_token) if t is not None]
        if vit.pos_embed is None:
            return vit.norm_pre(torch.cat([*special, x], dim=1)), grid
        prefix = 0 if vit.no_embed_class else vit.num_prefix_tokens
        table = resize_positions(vit.pos_embed[0], grid, prefix=prefix, mode='bicubic', offset=self.position_offset).to(
            x.dtype
        )
        if prefix:
            return vit.norm_pre(torch.cat([*special, x], dim=1) + table), grid
        return vit.norm_pre(torch.cat([*special, x + table], dim=1)), grid


def _unusual(vit: Any) -> bool:
    """Whether tokens are made in a way that the walk does not know."""
    rope = getattr(vit, 'rope', None)
    placed = getattr(vit, 'pos_embed', None) is not None if rope is None else not getattr(vit, 'rope_mixed', False)
    return not isinstance(getattr(vit, 'patch_embed', None), PatchEmbed) or not placed


def _to_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    return tokens.transpose(1, 2).unflatten(2, grid)
