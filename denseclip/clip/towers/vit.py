"""CLIP's vision transformer as a dense tower, for pictures of any size."""

from __future__ import annotations

import torch
from open_clip.transformer import QuickGELU, VisionTransformer
from torch import Tensor, nn

from denseclip.weights.positions import resize_positions

from ..blocks import maybe_checkpoint, run_block
from ..preprocess import PreprocessSpec
from .base import DenseReadOut, ImageTower, TowerOutput


class ViTTower(ImageTower):
    """Transformer blocks walked one by one; taps after any of them; joint-space embeddings of all patches.

    Args:
        visual: open_clip's ``VisionTransformer``. With ``proj`` None only stages can be read.
        read_out: What to return; ``out_indices`` are 0-based blocks, their class token is dropped.
        preprocess: Of the weights.
        drop_path_rate: Stochastic depth, rising linearly over the blocks up to this rate.
    """

    visual: VisionTransformer

    def __init__(
        self,
        visual: VisionTransformer,
        read_out: DenseReadOut | None = None,
        preprocess: PreprocessSpec | None = None,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(visual, read_out, preprocess)
        blocks = visual.transformer.resblocks
        self.indices = self.checked_indices(len(blocks), ())
        self.drop_rates = [drop_path_rate * i / max(len(blocks) - 1, 1) for i in range(len(blocks))]
        width, patch = visual.conv1.out_channels, visual.patch_size[0]
        self.stage_channels = (width,) * len(self.indices)
        self.stage_strides = (patch,) * len(self.indices)
        self.embed_dim = visual.proj.shape[1] if visual.proj is not None else width
        if visual.attn_pool is not None and self.read_out.dense:
            raise ValueError('a ViT with an attentional pooler (CoCa) has no pixel embeddings; use dense=False.')
        if not 0 < self.read_out.layers <= len(blocks):
            raise ValueError(f'read_out.layers={self.read_out.layers}: this tower has {len(blocks)} blocks.')

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Class token and patches with positions after ``ln_pre``, (N, 1 + hw, C), and the grid (h, w)."""
        visual = self.visual
        if any(side < patch for side, patch in zip(images.shape[-2:], visual.patch_size, strict=True)):
            raise ValueError(f'a {tuple(images.shape[-2:])} picture is smaller than one patch of {visual.patch_size}.')
        patches = visual.conv1(images)
        grid = (patches.shape[-2], patches.shape[-1])
        how = self.read_out
        positions = resize_positions(visual.positional_embedding, grid, mode=how.pos_resize, antialias=how.antialias)
        class_token = visual.class_embedding.expand(patches.shape[0], 1, -1)
        if how.double_class_embedding:
            class_token = class_token + visual.class_embedding
        x = torch.cat([class_token.to(patches.dtype), patches.flatten(2).transpose(1, 2)], dim=1)
        x = x + positions.to(x.dtype)
        return visual.ln_pre(visual.patch_dropout(x) if self.training else x), grid

    def forward(self, images: Tensor) -> TowerOutput:
        """See :meth:`ImageTower.forward`; sizes that are no multiple of the patch are cut at the right and bottom."""
        how, out = self.read_out, TowerOutput()
        x, grid = self.embed(images)
        count = len(self.visual.transformer.resblocks)
        fork = count - how.layers if how.dense and not how.as_trained else count
        # A read-out that differs from training leaves the ordinary walk at `fork`; the image embedding goes on with it.
        end = count if how.pooled else fork if how.dense else 0
        forked: Tensor | None = None
        for index in range(max(end, *(i + 1 for i in self.indices)) if self.indices else end):
            if index == fork:
                forked = x
            x = self._run(index, x)
            if index in self.indices:
                out.stages.append(_to_map(x[:, 1:], grid))
        if how.pooled:
            out.pooled = self._pooled(x)
        if how.dense:
            out.dense = _to_map(self._dense(x if forked is None else forked, fork), grid)
        return out

    def _run(self, index: int, x: Tensor) -> Tensor:
        block = self.visual.transformer.resblocks[index]
        return maybe_checkpoint(self.grad_checkpointing, block, x, drop=self.drop_rates[index])

    def _dense(self, x: Tensor, start: int) -> Tensor:
        """Joint-space embeddings of the patches, after the blocks from ``start`` on in the way the read-out asks."""
        how, visual = self.read_out, self.visual
        for block in visual.transformer.resblocks[start:]:
            x = run_block(block, x, kind=how.attention, residual=how.residual, ffn=how.ffn)
        return self._project(visual.ln_post(x[:, 1:]))

    def _pooled(self, x: Tensor) -> Tensor:
        """Image embedding of the final tokens, by the pooling that the model was trained with."""
        visual = self.visual
        if visual.attn_pool is None and visual.pool_type == 'tok':
            return self._project(visual.ln_post(x[:, 0]))
        return self._project(visual._pool(x)[0])

    def _project(self, x: Tensor) -> Tensor:
        return x @ self.visual.proj if self.visual.proj is not None else x


def _to_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    return tokens.transpose(1, 2).unflatten(2, grid)


def build_vit(
    *,
    image_size: int = 224,
    patch_size: int = 16,
    width: int = 768,
    layers: int = 12,
    heads: int = 12,
    embed_dim: int = 512,
    quick_gelu: bool = True,
    projection: bool = True,
) -> VisionTransformer:
    """A vision transformer with fresh weights; defaults are those of OpenAI's ViT-B/16.

    Args:
        image_size: Picture side that the positions are for.
        patch_size: Side of a patch.
        width: Size of a token.
        layers: Number of blocks.
        heads: Attention heads.
        embed_dim: Size of the joint space.
        quick_gelu: OpenAI's activation ``x * sigmoid(1.702 x)`` instead of the exact GELU.
        projection: False leaves ``ln_post`` and ``proj`` out (pure feature backbone).
    """
    visual = VisionTransformer(
        image_size=image_size,
        patch_size=patch_size,
        width=width,
        layers=layers,
        heads=heads,
        mlp_ratio=4.0,
        output_dim=embed_dim,
        act_layer=QuickGELU if quick_gelu else nn.GELU,
    )
    if not projection:
        visual.ln_post = nn.Identity()
        visual.proj = None
    return visual
