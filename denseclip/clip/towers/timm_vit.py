"""Transformer trunks of timm inside open_clip (SigLIP, EVA, PE, MobileCLIP-B, ViTamin) as dense towers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from open_clip.timm_model import TimmModel
from timm.layers import AttentionPoolLatent, HybridEmbed
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_relpos import VisionTransformerRelPos
from torch import Tensor

from denseclip.weights.positions import resize_positions

from ..attention import Guide
from ..blocks import grid_of_result, timm_external_attention
from ..errors import NoReadOutError
from ..mask_prompts import MaskPrompts
from ..preprocess import PreprocessSpec
from ..timm_blocks import is_known_timm_block
from .base import DenseReadOut, ImageTower, TowerOutput, fixed_size_error
from .changed_blocks import changed_blocks
from .rotary import rotary_table

TRUNKS = (VisionTransformer, Eva, VisionTransformerRelPos)
"""Classes of timm whose forward passes the walk below knows; subclasses may do more in theirs."""


def latent_values(pool: AttentionPoolLatent, tokens: Tensor) -> Tensor:
    """What the attention pool would return if its query attended to one token only, for each token.

    The pool is softmax(q k) v followed by a projection and a residual MLP; with all attention on one token that is
    the token's own value through the same layers (the MaskCLIP read-out of a SigLIP head).

    Shape:
        - tokens and result: :math:`(N, L, C)`
    """
    value = pool.proj(pool.kv(tokens).chunk(2, dim=-1)[1])
    return value + pool.mlp(pool.norm(value)) if pool.mlp is not None else value


class TimmViTTower(ImageTower):
    """Blocks walked one by one, pictures of any size, positions and rotary embeddings fitted to the grid.

    Args:
        visual: open_clip's ``TimmModel`` around a ``VisionTransformer`` or ``Eva`` trunk.
        read_out: What to return; ``out_indices`` are 0-based blocks. With an attention pool (SigLIP, PE) the dense
            read-out is the pool's own value path, which is what ``attention='value'`` names there. Queries and keys
            are compared as the trunk's attention does, with its norms and rotary positions.
        preprocess: Of the weights.

    Raises:
        NoReadOutError: If the read-out asks for what the trunk's blocks cannot do.
    """

    visual: TimmModel

    def __init__(
        self, visual: TimmModel, read_out: DenseReadOut | None = None, preprocess: PreprocessSpec | None = None
    ) -> None:
        super().__init__(visual, read_out, preprocess)
        trunk: Any = visual.trunk
        read_out = self.read_out
        if type(trunk) not in TRUNKS or getattr(trunk, 'shared_rel_pos', None) is not None:
            raise NoReadOutError(
                f'no dense read-out for a {type(trunk).__name__} trunk of this kind; there is one for '
                f'{", ".join(kind.__name__ for kind in TRUNKS)}.'
            )
        self.indices = self.checked_indices(len(trunk.blocks), ())
        # With an attention pool, the dense read-out is the pool's own value path, which is what 'value' asks for.
        named = read_out.attention == 'value' and getattr(trunk, 'attn_pool', None) is not None
        as_trained = (replace(read_out, attention='qk') if named else read_out).as_trained
        self.changed = 0 if as_trained or not read_out.dense else read_out.layers
        self._check_changes(trunk)
        self.multiple = self.patch_size
        self.stage_channels = (trunk.embed_dim,) * len(self.indices)
        self.stage_strides = (self.patch_size[0],) * len(self.indices)
        projection = getattr(visual.head, 'proj', None) or getattr(getattr(visual.head, 'mlp', None), 'fc2', None)
        own = getattr(trunk.head, 'out_features', trunk.embed_dim)
        self.embed_dim = projection.out_features if projection is not None else own

    def _check_changes(self, trunk: Any) -> None:
        """Refuse what the blocks cannot do."""
        read_out, kind = self.read_out, type(trunk).__name__
        if not read_out.fits_any_tower:
            raise NoReadOutError(
                f'{kind} trunks return neither keys, nor ffn_inputs, nor weights_from, and know neither repair nor '
                'middle: use a vision transformer of CLIP.'
            )
        if not self.changed:
            return
        if self.read_out.attention == 'value' and getattr(trunk, 'attn_pool', None) is not None:
            raise NoReadOutError(
                f"attention='value' names the value path of this {kind} trunk's pool, and its blocks stay as trained: "
                'set residual=ffn=True and leave gaussian, scale, iterations and parallel alone.'
            )
        if not 0 < self.changed <= len(trunk.blocks):
            raise NoReadOutError(f'read_out.layers={self.changed}: this tower has {len(trunk.blocks)} blocks.')
        last = trunk.blocks[-self.changed :]
        strange = next((block for block in last if not is_known_timm_block(block)), None)
        if strange is not None:
            inside = getattr(strange, 'attn', None)
            what = type(strange).__name__ + (f' with {type(inside).__name__}' if inside is not None else '')
            raise NoReadOutError(
                f'layers of type {what} among the last {self.changed} can only be read as trained: take '
                "preset='clip' here."
            )
        if read_out.attention == 'external' and getattr(last[-1].attn, 'gate', None) is not None:
            raise NoReadOutError("attention='external' is not for gated attention: gates have a grid of their own.")

    @property
    def patch_size(self) -> tuple[int, int]:
        """Height and width in pixels that one token stands for."""
        embed: Any = self.visual.trunk.patch_embed
        height, width = embed.patch_size
        if isinstance(embed, HybridEmbed):
            height, width = height * embed.feature_ratio[0], width * embed.feature_ratio[1]
        return height, width

    def embed(self, images: Tensor, prompts: MaskPrompts | None = None) -> tuple[Tensor, tuple[int, int]]:
        """Prefix tokens and patches with positions, (N, prefix + hw, C), and the grid (h, w)."""
        trunk: Any = self.visual.trunk
        patches = self.patches(images)
        grid = (patches.shape[1], patches.shape[2])
        tokens = patches.flatten(1, 2)
        if prompts is not None:
            tokens = prompts.replace(tokens, 0, grid)
        special = [t.expand(tokens.shape[0], -1, -1) for t in self._special if t is not None]
        read_out, own = self.read_out, trunk.patch_embed.grid_size
        if isinstance(trunk, VisionTransformerRelPos):
            if grid != tuple(own):
                raise fixed_size_error(trunk, images)
            return torch.cat([*special, tokens], dim=1), grid
        if trunk.pos_embed is not None:
            prefix = 0 if trunk.no_embed_class else trunk.num_prefix_tokens
            positions = resize_positions(
                trunk.pos_embed[0],
                grid,
                prefix=prefix,
                mode=read_out.pos_resize,
                antialias=read_out.antialias,
                source=own,
            )
            tokens = tokens + positions[prefix:]
            if prefix:
                special = [torch.cat(special, dim=1) + positions[:prefix]]
        return trunk.norm_pre(torch.cat([*special, tokens], dim=1)), grid

    @property
    def _unplaced(self) -> int:
        """How many of the last layers know no rotary positions (:func:`denseclip.clip.dinotxt.add_head`)."""
        return getattr(self.visual.trunk, 'head_blocks', 0)

    @property
    def _special(self) -> tuple[Tensor | None, Tensor | None]:
        """Class token and registers."""
        trunk: Any = self.visual.trunk
        return trunk.cls_token, getattr(trunk, 'reg_token', None)

    def forward(self, images: Tensor, guide: Guide | None = None, prompts: MaskPrompts | None = None) -> TowerOutput:
        """See :meth:`ImageTower.forward`."""
        if not self.changed:
            self.refuse_guide(guide)
        trunk: Any = self.visual.trunk
        read_out, count = self.read_out, len(trunk.blocks)
        x, grid = self.embed(images, prompts)
        out = TowerOutput(grid=grid)
        extra, prefix = self.rotary(grid), trunk.num_prefix_tokens
        fork = count - self.changed
        if prompts is not None and self.changed and prompts.depth - 1 > fork:
            raise ValueError(
                f'mask prompts of depth {prompts.depth} reach into the last {self.changed} changed blocks.'
            )
        plain = read_out.pooled or (read_out.dense and not self.changed)
        end = count if plain else max(fork if self.changed else 0, max(self.indices, default=-1) + 1)
        for index, block in enumerate(trunk.blocks):
            if index == fork:
                out.tokens = x
            if index == end:
                break
            x = block(x, **(extra if index < count - self._unplaced else {}))
            if index in self.indices:
                out.stages.append(x[:, prefix:].transpose(1, 2).unflatten(2, grid))
            if prompts is not None:
                x = prompts.replace_tokens(x, index + 1, grid, prefix)
        last = trunk.norm(x) if plain else x
        if read_out.pooled:
            out.pooled = self.visual.head(trunk.forward_head(last))
        if read_out.dense:
            tokens = last[:, prefix:]
            if self.changed:
                assert out.tokens is not None
                tokens, grid = self._changed_tokens(out.tokens, grid, guide, {} if self._unplaced else extra)
            out.dense = self._embeddings(tokens).transpose(1, 2).unflatten(2, grid)
        return out

    def _changed_tokens(
        self, x: Tensor, grid: tuple[int, int], guide: Guide | None, extra: dict[str, Tensor]
    ) -> tuple[Tensor, tuple[int, int]]:
        """Normalised patches after the changed blocks, (N, hw, C), and their grid."""
        trunk: Any = self.visual.trunk
        blocks, special = list(trunk.blocks[-self.changed :]), trunk.num_prefix_tokens
        if self.read_out.attention == 'external':
            tokens = timm_external_attention(blocks[0], x, grid, guide, special)
            grid = grid_of_result(guide, grid)
        else:
            tokens = changed_blocks(blocks, self.read_out, x, grid, guide, special, **extra)[:, special:]
        return trunk.norm(tokens), grid

    def _embeddings(self, tokens: Tensor) -> Tensor:
        """Joint-space embeddings of normalised patches, each as if it were alone, (N, L, E)."""
        trunk: Any = self.visual.trunk
        if getattr(trunk, 'attn_pool', None) is not None:
            tokens = latent_values(trunk.attn_pool, tokens)
        return self.visual.head(trunk.head(trunk.fc_norm(tokens)))

    def patches(self, images: Tensor) -> Tensor:
        """Patch embeddings without positions, (N, h, w, C); a hybrid's convolutions run first."""
        embed: Any = self.visual.trunk.patch_embed
        features = embed.backbone(images) if isinstance(embed, HybridEmbed) else images
        patches = embed.proj(features).permute(0, 2, 3, 1)
        return embed.norm(patches) if hasattr(embed, 'norm') else patches

    def rotary(self, grid: tuple[int, int]) -> dict[str, Tensor]:
        """Rotary embeddings for the grid, as the blocks take them."""
        rope: Any = getattr(self.visual.trunk, 'rope', None)
        return {} if rope is None else {'rope': rotary_table(rope, grid, self.read_out.rotary)}
