"""The training-free V-V dual path: an ordinary walk through a transformer with a second stream on its side.

Source: AnoVL (arXiv 2308.15939), section 3.2. Nothing is patched: the parameters of the blocks are read, tokens as
(N, L, C).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from open_clip.transformer import ResidualAttentionBlock
from timm.models.eva import EvaBlock
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from denseclip.clip.attention import attend
from denseclip.clip.blocks import (
    ffn_branch,
    first_token_block,
    project_one,
    projections,
    run_block,
    split_heads,
    timm_self_attention,
)
from denseclip.clip.towers.base import ImageTower
from denseclip.clip.towers.timm_vit import TimmViTTower, latent_values
from denseclip.clip.towers.vit import ViTTower

ATTENTIONS = ('qq', 'kk', 'vv', 'ordinary')
"""Attention of the second stream; ``'ordinary'``: none, patches are read from the ordinary stream."""


class DualStep(NamedTuple):
    """The two streams after a block.

    Attributes:
        attended: Ordinary stream between attention and feed-forward part; None for blocks walked as a whole.
        ordinary: Ordinary stream after the block.
        side: Second stream; None before it starts.

    Shape:
        - all: :math:`(N, L, C)`
    """

    attended: Tensor | None
    ordinary: Tensor
    side: Tensor | None


@dataclass
class DualPathOutput:
    """What the dual path says about pictures.

    Attributes:
        pooled: Image embedding of the ordinary stream, not normalised, (N, E).
        patches: Patch embeddings of the second stream, not normalised, (N, h, w, E).
    """

    pooled: Tensor
    patches: Tensor


def supports_dual_path(tower: ImageTower) -> bool:
    """Whether a tower is a transformer whose blocks have an explicit walk here."""
    if isinstance(tower, ViTTower):
        return all(isinstance(block, ResidualAttentionBlock) for block in tower.visual.transformer.resblocks)
    if isinstance(tower, TimmViTTower):
        trunk: Any = tower.visual.trunk
        return all(
            type(block) in (Block, EvaBlock)
            and block.attn.qkv is not None
            and getattr(block.attn, 'gate', None) is None
            for block in trunk.blocks
        )
    return False


def dual_path(tower: ImageTower, images: Tensor, last: int = 12, attention: str = 'vv') -> DualPathOutput:
    """Image and patch embeddings by the dual path.

    Args:
        tower: A vision transformer of open_clip or timm.
        images: Normalised pictures (N, 3, H, W) of any size.
        last: How many blocks at the end feed the second stream; all of them when there are fewer.
        attention: ``'vv'`` (the paper), ``'qq'``, ``'kk'``, or ``'ordinary'``: patches of the ordinary stream.

    Raises:
        ValueError: If the tower has no explicit walk.
    """
    if not supports_dual_path(tower):
        raise ValueError(f'{type(tower).__name__} has no V-V path: use a vision transformer of open_clip or timm.')
    if isinstance(tower, TimmViTTower):
        return _timm_dual_path(tower, images, last, attention)
    assert isinstance(tower, ViTTower)
    x, grid = tower.embed(images)
    *blocks, end = tower.visual.transformer.resblocks
    side: Tensor | None = None
    for step in dual_blocks(blocks, x, last - 1, attention):
        x, side = step.ordinary, step.side
    if attention == 'ordinary' or last < 1 or not tower.pools_class_token:
        step = next(dual_blocks([end], x, last, attention, side))
        x, side = step.ordinary, step.side
    else:  # of the ordinary stream nothing but the class token is read from here on
        side = (x if side is None else side) + side_attention(end, x, attention)
        x = first_token_block(end, x)
    visual: Any = tower.visual
    patches = tower.after_blocks((x if side is None else side)[:, 1:])
    patches = patches @ visual.proj if visual.proj is not None else patches
    return DualPathOutput(tower.pool(x), patches.unflatten(1, grid))


def dual_blocks(
    blocks: Iterable[nn.Module], x: Tensor, last: int = 12, attention: str = 'vv', side: Tensor | None = None
) -> Iterator[DualStep]:
    """Walk through open_clip's blocks and yield the streams after each.

    Args:
        blocks: ``ResidualAttentionBlock`` modules.
        x: Tokens (N, L, C), positions added.
        last: See :func:`dual_path`.
        attention: See :func:`dual_path`.
        side: Second stream of earlier blocks.
    """
    blocks = list(blocks)
    start = max(len(blocks) - last, 0) if attention != 'ordinary' else len(blocks)
    for index, block in enumerate(blocks):
        if index < start:
            x = run_block(block, x)
            yield DualStep(None, x, None)
            continue
        step = dual_block(block, x, x if side is None else side, attention)
        x, side = step.ordinary, step.side
        yield step


def dual_block(block: Any, ordinary: Tensor, side: Tensor, attention: str = 'vv') -> DualStep:
    """One block of the dual path.

    The ordinary stream runs as trained. The second one adds up, without feed-forward part and without norms of its
    own, what the block's attention gives for the ordinary stream's input when values are compared with values.

    Args:
        block: ``ResidualAttentionBlock``.
        ordinary: Ordinary stream before the block.
        side: Second stream before the block; the ordinary one where it starts.
        attention: Terms of :func:`denseclip.clip.attention.attention_terms`.

    Shape:
        - ordinary and side: :math:`(N, L, C)`
    """
    q, k, v = projections(block.attn, block.ln_1(ordinary))
    branch, aside = (block.ls_1(_merged(block.attn.out_proj, attend(q, k, v, kind))) for kind in ('qk', attention))
    attended = ordinary + branch
    return DualStep(attended, ffn_branch(block, attended, block.ln_2(attended)), side + aside)


def side_attention(block: nn.Module, ordinary: Tensor, attention: str = 'vv') -> Tensor:
    """What a block adds to the second stream, see :func:`dual_block`; nothing else of the block runs.

    Shape:
        - ordinary and result: :math:`(N, L, C)`
    """
    walked: Any = block
    attn, normed = walked.attn, walked.ln_1(ordinary)
    parts = {
        name: split_heads(project_one(attn, normed, name), attn.num_heads) for name in dict.fromkeys((*attention, 'v'))
    }
    q, k, v = (parts.get(name, parts['v']) for name in 'qkv')
    return walked.ls_1(_merged(attn.out_proj, attend(q, k, v, attention)))


def _merged(projection: nn.Module, heads: Tensor) -> Tensor:
    return projection(heads.transpose(1, 2).flatten(2))


def _timm_dual_path(tower: TimmViTTower, images: Tensor, last: int, attention: str) -> DualPathOutput:
    """The same on a trunk of timm, whose blocks run as they are; the second stream reads their parameters."""
    trunk: Any = tower.visual.trunk
    x, grid = tower.embed(images)
    extra = tower.rotary(grid)
    start = max(len(trunk.blocks) - last, 0) if attention != 'ordinary' else len(trunk.blocks)
    side: Tensor | None = None
    for index, block in enumerate(trunk.blocks):
        if index >= start:
            side = (x if side is None else side) + timm_self_attention(block, x, kind=attention)
        x = block(x, **extra)
    head: Any = tower.visual.head
    patches = trunk.norm(x if side is None else side)[:, trunk.num_prefix_tokens :]
    if trunk.attn_pool is not None:
        patches = latent_values(trunk.attn_pool, patches)
    patches = head(trunk.head(trunk.fc_norm(patches)))
    return DualPathOutput(head(trunk.forward_head(trunk.norm(x))), patches.unflatten(1, grid))
