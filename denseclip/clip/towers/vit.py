"""CLIP's vision transformer as a dense tower, for pictures of any size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from open_clip.transformer import QuickGELU, VisionTransformer
from torch import Tensor, nn

from denseclip.weights.positions import resize_positions

from ..attention import Guide
from ..blocks import (
    attention_branch,
    block_keys,
    block_looks,
    block_weights,
    ffn_branch,
    ffn_input,
    first_token_block,
    grid_of_result,
    has_explicit_walk,
    maybe_checkpoint,
    run_block,
)
from ..branches import Branches, middle_indices
from ..deep_prompts import CoupledPrompts
from ..errors import NoReadOutError
from ..mask_prompts import MaskPrompts
from ..middle_layers import MiddleNotes, block_numbers
from ..preprocess import PreprocessSpec
from .affinity_read import read_by_affinity
from .attention_pool import pooler_values
from .base import DenseReadOut, ImageTower, TowerOutput
from .calibrated import calibrated_patches, named_blocks, repaired
from .changed_blocks import changed_blocks


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
        self.ffn_inputs = block_numbers(self.read_out.ffn_inputs, len(blocks), 'ffn_inputs')
        self.weights_from = block_numbers(self.read_out.weights_from, len(blocks), 'weights_from')
        self._middle = named_blocks(self.read_out, len(blocks))
        self._branch = middle_indices(self.read_out.branch, len(blocks))
        if self.read_out.keys is not None and (self.read_out.as_trained or self.read_out.layers != 1):
            raise ValueError('read_out.keys needs a changed last block and layers=1.')
        explicit = self.read_out.fits_any_tower and self.read_out.as_trained
        if not explicit and not all(map(has_explicit_walk, blocks)):
            raise NoReadOutError(f'blocks of type {type(blocks[-1]).__name__} can only be read as trained.')
        self.deep_prompts: CoupledPrompts | None = None
        self.drop_rates = [drop_path_rate * i / max(len(blocks) - 1, 1) for i in range(len(blocks))]
        width, patch = visual.conv1.out_channels, visual.patch_size[0]
        self.multiple = tuple(visual.patch_size)
        self.stage_channels = (width,) * len(self.indices)
        self.stage_strides = (patch,) * len(self.indices)
        self.embed_dim = visual.proj.shape[1] if visual.proj is not None else width
        if getattr(visual, 'attn_pool_contrastive', None) is not None and self.read_out.dense:
            raise NoReadOutError('a ViT with two attentional poolers has no pixel embeddings; use dense=False.')
        if not 0 < self.read_out.layers <= len(blocks):
            raise NoReadOutError(f'read_out.layers={self.read_out.layers}: this tower has {len(blocks)} blocks.')

    def read_also(self, **changes: Any) -> None:
        """See :meth:`ImageTower.read_also`."""
        super().read_also(**changes)
        blocks = self.visual.transformer.resblocks
        if not self.read_out.fits_any_tower and not all(map(has_explicit_walk, blocks)):
            raise NoReadOutError(f'blocks of type {type(blocks[-1]).__name__} do not tell their attention.')
        self.weights_from = block_numbers(self.read_out.weights_from, len(blocks), 'weights_from')

    @property
    def _last_asked_for(self) -> int:
        return max([-1, *self.indices, *self.ffn_inputs, *self.weights_from])

    def take_prompts(self, prompts: CoupledPrompts) -> None:
        """See :meth:`ImageTower.take_prompts`.

        Raises:
            ValueError: If they do not fit the tower, or reach into blocks that the read-out changes.
        """
        read_out, count = self.read_out, len(self.drop_rates)
        prompts.check(count, self.visual.conv1.out_channels, image=True)
        inside = read_out.keys is not None or read_out.repair is not None or read_out.middle is not None
        if inside or self.weights_from or read_out.attention == 'external':
            raise ValueError(
                'deep prompts do not go with read-outs of keys, attention weights or middle blocks, with repaired '
                'tokens, or with an affinity.'
            )
        if read_out.dense and not read_out.as_trained and prompts.depth > count - read_out.layers:
            raise ValueError(
                f'deep prompts of depth {prompts.depth} reach into the last {read_out.layers} changed blocks.'
            )
        self.deep_prompts = prompts

    def embed(self, images: Tensor, prompts: MaskPrompts | None = None) -> tuple[Tensor, tuple[int, int]]:
        """Class token and patches with positions after ``ln_pre``, (N, 1 + hw, C), and the grid (h, w).

        Raises:
            ValueError: If the tower has deep prompts, which a caller that walks the blocks himself would lose.
        """
        if self.deep_prompts is not None:
            raise ValueError('this method walks through the image tower in its own way and knows no deep prompts.')
        return self._start(images, prompts)

    def _start(self, images: Tensor, prompts: MaskPrompts | None = None) -> tuple[Tensor, tuple[int, int]]:
        """What the first block gets: class token, patches, deep prompts if there are any; and the grid (h, w)."""
        visual = self.visual
        x, grid = self.patchify(images, prompts)
        x = visual.patch_dropout(x) if self.training else x
        if self.deep_prompts is not None:
            x = torch.cat([x, self._deep[0].to(x.dtype).expand(len(x), -1, -1)], dim=1)
        return visual.ln_pre(x), grid

    @property
    def _deep(self) -> list[Tensor]:
        return [] if self.deep_prompts is None else self.deep_prompts.image()

    def _own(self, x: Tensor) -> Tensor:
        """Tokens without the deep prompts behind them; the class token alone stays as it is."""
        return x if self.deep_prompts is None or x.shape[1] == 1 else x[:, : -self.deep_prompts.length]

    def patchify(self, images: Tensor, prompts: MaskPrompts | None = None) -> tuple[Tensor, tuple[int, int]]:
        """Class token and patches with positions before ``ln_pre``, (N, 1 + hw, C), and the grid (h, w)."""
        visual = self.visual
        if any(side < patch for side, patch in zip(images.shape[-2:], visual.patch_size, strict=True)):
            raise ValueError(f'a {tuple(images.shape[-2:])} picture is smaller than one patch of {visual.patch_size}.')
        patches = visual.conv1(images)
        grid = (patches.shape[-2], patches.shape[-1])
        read_out = self.read_out
        positions = resize_positions(
            visual.positional_embedding,
            grid,
            mode=read_out.pos_resize,
            antialias=read_out.antialias,
            source=visual.grid_size,
        )
        class_token = visual.class_embedding.expand(patches.shape[0], 1, -1)
        if read_out.double_class_embedding:
            class_token = class_token + visual.class_embedding
        tokens = patches.flatten(2).transpose(1, 2)
        if prompts is not None:
            tokens = prompts.replace(tokens, 0, grid)
        x = torch.cat([class_token.to(patches.dtype), tokens], dim=1)
        return x + positions.to(x.dtype), grid

    def forward(self, images: Tensor, guide: Guide | None = None, prompts: MaskPrompts | None = None) -> TowerOutput:
        """See :meth:`ImageTower.forward`; sizes that are no multiple of the patch are cut at the right and bottom."""
        if guide is not None and self.deep_prompts is not None:
            raise ValueError('deep prompts do not go with a guide (affinity, prior) of the last blocks.')
        return self._read(images, self.read_out, guide, prompts)

    def before_last(self, images: Tensor, *, repair: bool = True) -> TowerOutput:
        """Tokens that the changed blocks start from; those blocks do not run.

        Args:
            images: Normalised pictures (N, 3, H, W).
            repair: Repair the tokens where the read-out says so, which :meth:`read_dense` does, too.
        """
        x, grid = self._start(images)
        out = TowerOutput(grid=grid, notes=MiddleNotes())
        fork = self._fork(None, None)
        x = self._walk(x, out, fork, fork, False, None)
        # A stage after those blocks takes the walk farther than what is read here.
        x = x if out.tokens is None else out.tokens
        out.tokens = repaired(self.read_out, x, grid, out.notes)[0] if repair else x
        return out

    def inside(self, images: Tensor) -> TowerOutput:
        """What :meth:`forward` notes on its way (stages, weights, ``ffn_inputs``), and no embedding.

        Blocks after the last one that is asked for, and the half of that one which nobody reads, do not run.
        """
        return self._read(images, replace(self.read_out, dense=False, pooled=False, keys=None))

    def _read(
        self, images: Tensor, read_out: DenseReadOut, guide: Guide | None = None, prompts: MaskPrompts | None = None
    ) -> TowerOutput:
        x, grid = self._start(images, prompts)
        out = TowerOutput(grid=grid)
        if read_out.dense and not (read_out.repair is None and read_out.middle is None):
            out.notes = MiddleNotes()
        count = len(self.visual.transformer.resblocks)
        fork = self._fork(guide, prompts)
        if read_out.dense and read_out.branches:
            out.branches = Branches.of(x, grid, guide, bool(read_out.region_weight))
        # A read-out that differs from training leaves the ordinary walk at `fork`; the image embedding goes on with it.
        end = count if read_out.pooled else fork if read_out.dense else 0
        x = self._walk(x, out, fork, end, self._class_token_is_enough(read_out, fork), prompts)
        if read_out.pooled:
            out.pooled = self.pool(self._own(x))
        if read_out.dense:
            if out.tokens is None:
                out.tokens = x if fork < count else None
            self._read_dense(out, x, guide)
            if read_out.keys is not None:
                out.keys = self._keys(out.tokens)
        return out

    def _walk(
        self, x: Tensor, out: TowerOutput, fork: int, end: int, first_only: bool, prompts: MaskPrompts | None
    ) -> Tensor:
        """Run the blocks as trained up to ``end``, or as far as something is asked for, and note that in ``out``.

        With ``first_only`` the last block is run for the class token alone.
        """
        blocks: Any = self.visual.transformer.resblocks
        grid, deep = _grid_of(out), self._deep
        for index in range(max(end, self._last_asked_for + 1)):
            if 0 < index < len(deep):
                x = torch.cat([self._own(x), deep[index].to(x.dtype).expand(len(x), -1, -1)], dim=1)
            if index == fork:
                out.tokens = x
            if index in self.weights_from:
                self._add_weights(blocks[index], x, out)
            if out.notes is not None and self.read_out.looks and index == fork - 1:
                out.notes.looks = block_looks(blocks[index], x)
            if first_only and index == len(blocks) - 1:
                x = first_token_block(blocks[index], x)
                break
            if out.branches is not None:
                out.branches.pass_block(blocks[index], x, index == len(blocks) - 1)
            x = self._run(index, x, out, last=index + 1 == max(end, self._last_asked_for + 1) > end)
            self._note(index, x, out)
            if index in self.indices:
                out.stages.append(to_map(self._own(x)[:, 1:], grid))
            if prompts is not None:
                own = prompts.replace_tokens(self._own(x), index + 1, grid)
                x = torch.cat([own, x[:, own.shape[1] :]], dim=1)
        return x

    def _add_weights(self, block: Any, x: Tensor, out: TowerOutput) -> None:
        """Add a block's attention weights to the mean: those of all blocks are never there together."""
        weights = block_weights(block, x)
        if not self.read_out.weights_of_heads:
            weights = weights.mean(dim=1, keepdim=True)
        weights = weights / len(self.weights_from)
        out.weights = weights if out.weights is None else out.weights + weights

    def _note(self, index: int, x: Tensor, out: TowerOutput) -> None:
        """Keep what later blocks need of the tokens after a block."""
        if out.notes is not None and index in self._middle:
            out.notes.tokens.update(dict.fromkeys(self._middle[index], x))
        if out.branches is not None and index in self._branch:
            out.branches.note(x, 1 / len(self._branch))

    def _fork(self, guide: Guide | None, prompts: MaskPrompts | None) -> int:
        """Block at which the dense read-out leaves the ordinary walk; the number of blocks if it does not."""
        read_out, count = self.read_out, len(self.drop_rates)
        fork = count - read_out.layers if read_out.dense and not (read_out.as_trained and guide is None) else count
        if prompts is not None and prompts.depth - 1 > fork:
            raise ValueError(
                f'mask prompts of depth {prompts.depth} reach into the last {read_out.layers} changed blocks.'
            )
        return fork

    def pooled_of_tokens(self, x: Tensor) -> Tensor:
        """Image embedding (N, E) from tokens (N, L, C) that :meth:`embed` made, or some of them, the first included."""
        *blocks, last = self.visual.transformer.resblocks
        for block in blocks:
            x = run_block(block, x)
        return self.pool(first_token_block(last, x) if self.pools_class_token else run_block(last, x))

    @property
    def pools_class_token(self) -> bool:
        """Whether the image embedding is made of the class token alone, and the last block can run for it."""
        visual = self.visual
        by_token = visual.attn_pool is None and visual.pool_type == 'tok'
        return by_token and has_explicit_walk(visual.transformer.resblocks[-1])

    def _class_token_is_enough(self, read_out: DenseReadOut, fork: int) -> bool:
        """Whether the class token is all that is read of the last block as trained."""
        last = len(self.drop_rates) - 1
        plain = not self.grad_checkpointing and not (self.training and self.drop_rates[last])
        return (
            read_out.pooled
            and (not read_out.dense or fork <= last)
            and last > self._last_asked_for
            and plain
            and self.pools_class_token
        )

    def _run(self, index: int, x: Tensor, out: TowerOutput, last: bool = False) -> Tensor:
        """One block as trained; the normalised input of its feed-forward branch is noted where asked for.

        ``last``: nothing follows, so the branch itself runs only for a stage.
        """
        block = self.visual.transformer.resblocks[index]
        if index not in self.ffn_inputs:
            return maybe_checkpoint(self.grad_checkpointing, block, x, drop=self.drop_rates[index])
        x = attention_branch(block, x, self.drop_rates[index])
        normed = ffn_input(block, x)
        out.ffn_inputs.append(self._own(normed))
        if last and index not in self.indices:
            return x
        return ffn_branch(block, x, normed, self.drop_rates[index])

    def read_dense(
        self,
        tokens: Tensor,
        grid: tuple[int, int],
        guide: Guide | None = None,
        notes: MiddleNotes | None = None,
        branches: Branches | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run the last blocks in the way the read-out asks, from where :meth:`forward` left the ordinary walk.

        Args:
            tokens: ``TowerOutput.tokens``.
            grid: ``TowerOutput.grid``.
            guide: What the pictures add.
            notes: ``TowerOutput.notes``.
            branches: ``TowerOutput.branches``.

        Returns:
            Joint-space embeddings, and what they were projected from.

        Shape:
            - tokens: :math:`(N, 1 + hw, C)`, deep prompts behind them where the tower has some
            - results: :math:`(N, E, h', w')` and :math:`(N, C, h', w')`; the guide's affinity decides h' and w'
        """
        read_out, blocks = self.read_out, self.visual.transformer.resblocks[-self.read_out.layers :]
        tokens, bad = repaired(read_out, tokens, grid, notes)
        if read_out.middle is not None:
            normed = self.after_blocks(calibrated_patches(blocks[0], read_out, tokens, bad, grid, notes))
        elif read_out.attention == 'external':
            result = grid_of_result(guide, grid)
            normed, grid = read_by_affinity(self, tokens, grid, result, guide, branches), result
        else:
            normed = self.after_blocks(self._own(self._changed_blocks(tokens, grid, guide))[:, 1:])
        return to_map(self.project(normed), grid), to_map(normed, grid)

    def _changed_blocks(self, x: Tensor, grid: tuple[int, int], guide: Guide | None) -> Tensor:
        blocks = list(self.visual.transformer.resblocks[-self.read_out.layers :])
        return changed_blocks(blocks, self.read_out, x, grid, guide)

    def _read_dense(self, out: TowerOutput, x: Tensor, guide: Guide | None) -> None:
        """Fill in what is read from all patches; ``x`` are the tokens at the end of the ordinary walk."""
        assert out.grid is not None
        if out.tokens is not None:
            out.dense, out.unprojected = self.read_dense(out.tokens, out.grid, guide, out.notes, out.branches)
        else:
            normed = self.after_blocks(self._own(x)[:, 1:])
            out.dense, out.unprojected = to_map(self.project(normed), out.grid), to_map(normed, out.grid)

    def _keys(self, tokens: Tensor | None) -> Tensor:
        assert tokens is not None
        projected = self.read_out.keys == 'projected'
        return block_keys(self.visual.transformer.resblocks[-1], tokens[:, 1:], projected)

    def after_blocks(self, tokens: Tensor) -> Tensor:
        """What stands between the last block and the projection, for every token by itself.

        That is ``ln_post``; with an attentional pooler (CoCa) it follows the pooler's answer to that token alone.

        Shape:
            - tokens: :math:`(N, L, C)`; result: :math:`(N, L, C')`
        """
        pooler = self.visual.attn_pool
        return self.visual.ln_post(tokens if pooler is None else pooler_values(pooler, tokens))

    def pool(self, x: Tensor) -> Tensor:
        """Image embedding of the final tokens, by the pooling that the model was trained with."""
        visual = self.visual
        if visual.attn_pool is None and visual.pool_type == 'tok':
            return self.project(visual.ln_post(x[:, 0]))
        return self.project(visual._pool(x)[0])

    def project(self, x: Tensor) -> Tensor:
        """Tokens in the joint space."""
        return x @ self.visual.proj if self.visual.proj is not None else x


def to_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """(N, hw, C) to (N, C, h, w)."""
    return tokens.transpose(1, 2).unflatten(2, grid)


def _grid_of(out: TowerOutput) -> tuple[int, int]:
    assert out.grid is not None
    return out.grid


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
