"""The last block over the tokens of all windows: towers stop before it, and it goes on with all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denseclip.core.precision import full_precision

from ..attention import attention_terms, resize_values
from ..blocks import ffn_branch, project_one, projections, split_heads
from ..errors import NoReadOutError
from ..nearness import near_patches
from ..token_repair import parts_of_rows
from .base import DenseReadOut
from .vit import ViTTower, to_map

_JOINABLE = {'qk', 'qq', 'kk', 'vv'}


@dataclass(frozen=True)
class Anchors:
    """Attention by another network's tokens of all windows (GLA-CLIP).

    A patch is replaced by the mean of the tokens like it, its anchor, before it is compared; patches of small things,
    which few tokens are like, look the more sharply. Source: GLA-CLIP (Lee et al., CVPR 2026).

    Attributes:
        least: Cosine above which a token is like another; None: patches are compared as they are, and cosines below
            ``beta`` times the picture's mean are not looked at (ProxyCLIP).
        steps: How often the anchor is renewed.
        spread: Growth of the threshold with the logarithm of the number of windows.
        small: Sharpness of a thing of one token, besides 1.
        beta: Without anchors: threshold.
        gamma: Without anchors: sharpness.
    """

    least: float | None = 0.6
    steps: int = 2
    spread: float = 0.3
    small: float = 30.0
    beta: float = 1.2
    gamma: float = 3.0

    def weights(self, rows: Tensor, own: Tensor, keys: Tensor, windows: int, mean: Tensor) -> Tensor:
        """Attention weights of some patches over all tokens.

        Args:
            rows: Which tokens the patches are, (r,).
            own: Their unit vectors.
            keys: Unit vectors of all tokens.
            windows: How many windows they come from.
            mean: Mean of all cosines.

        Shape:
            - own: :math:`(r, C)`; keys: :math:`(T, C)`; result: :math:`(r, T)`
        """
        cosines = own @ keys.T
        if self.least is None:
            logits = (cosines - mean * self.beta) * self.gamma
        else:
            like = self._like(cosines, rows)
            for step in range(self.steps):
                if step:
                    like = self._like(cosines, rows)
                anchor = like.to(keys.dtype) @ keys / (like.sum(dim=1, keepdim=True) + 1e-6)
                cosines = F.normalize(anchor, dim=1) @ keys.T
            threshold = cosines.mean(dim=1, keepdim=True).clamp_min(0) * (1 + self.spread * math.log1p(windows))
            logits = (cosines - threshold) * (1 + self.small / like.sum(dim=1, keepdim=True))
        least = logits.amax(dim=1, keepdim=True).clamp_max(0)
        return logits.masked_fill(logits < least, float('-inf')).softmax(dim=1)

    def _like(self, cosines: Tensor, rows: Tensor) -> Tensor:
        """Which tokens are like each patch, (r, T): itself, where there is no other."""
        assert self.least is not None
        like = cosines > self.least
        none = ~like.any(dim=1, keepdim=True)
        return like | (none & (torch.arange(like.shape[1], device=like.device) == rows[:, None]))


class JoinedWindows:
    """Tokens of all windows of one picture before the last block, ready to be attended to.

    All that is held grows with the number of tokens, not with its square: attention is made window by window, and by
    another network's tokens a few rows at a time.

    Args:
        tower: Its read-out says how the last block runs.
        tokens: Before the last block, class tokens first; class tokens take no part.
        grid: Height and width of a window in patches.
        places: Row and column of each window's upper left corner, in patches.
        features: Another network's tokens of each window, for ``attention='external'``.

    Shape:
        - tokens: :math:`(B, 1 + hw, C)`; places: B pairs; features: :math:`(B, C', h', w')`
    """

    def __init__(
        self,
        tower: ViTTower,
        tokens: Tensor,
        grid: tuple[int, int],
        places: Sequence[tuple[float, float]],
        features: Tensor | None = None,
        anchors: Anchors | None = None,
    ) -> None:
        self.tower, self.read_out, self.grid = tower, tower.read_out, grid
        self.block: Any = tower.visual.transformer.resblocks[-1]
        self.tokens, self.places = tokens[:, 1:], list(places)
        self.anchors = anchors if anchors is not None else Anchors()
        self.features: Tensor | None = None
        attn, normed = self.block.attn, self.block.ln_1(self.tokens)
        if features is None:
            self.sides = dict(zip('qkv', projections(attn, normed), strict=True))
            return
        with full_precision(features.device.type):
            self.features = F.normalize(features.float().flatten(2).transpose(1, 2), dim=2)
        self.fine = (features.shape[2], features.shape[3])
        values = resize_values(split_heads(project_one(attn, normed, 'v'), attn.num_heads), grid, self.fine)
        self.values = values.transpose(1, 2).flatten(2).float()  # (B, h'w', C)

    def dense(self, index: int, seen: Sequence[int]) -> Tensor:
        """Joint-space embeddings of one window, (1, E, h, w) or (1, E, h', w').

        Args:
            index: Which window.
            seen: Windows that it looks at, itself among them.
        """
        if self.features is not None:
            patches, grid = self._by_features(index, list(seen)), self.fine
        else:
            patches, grid = self._by_itself(index, list(seen)), self.grid
        normed = self.tower.after_blocks(patches)
        return to_map(self.tower.project(normed), grid)

    def _by_itself(self, index: int, seen: list[int]) -> Tensor:
        """Patches (1, hw, C) after the block's own attention over all windows."""
        read_out, block = self.read_out, self.block
        factor = read_out.scale * self.sides['v'].shape[-1] ** -0.5
        near = None if read_out.gaussian is None else self._nearness(index, seen, read_out.gaussian)
        terms = attention_terms(read_out.attention)
        others = {side: _all(self.sides[side][seen]) for side in {'v', *(term[1] for term in terms)}}
        heads = torch.stack(
            [
                F.scaled_dot_product_attention(
                    self.sides[term[0]][index : index + 1], others[term[1]], others['v'], attn_mask=near, scale=factor
                )
                for term in terms
            ]
        )
        mixed = heads.mean(dim=0) if read_out.average else heads.sum(dim=0)
        branch = block.ls_1(block.attn.out_proj(mixed.transpose(1, 2).flatten(2)))
        x = self.tokens[index : index + 1] + branch if read_out.residual else branch
        return ffn_branch(block, x, block.ln_2(x)) if read_out.ffn else x

    def _nearness(self, index: int, seen: list[int], std: float) -> Tensor:
        """Preference for near patches of whatever window, (hw, T)."""
        top, left = self.places[index]
        shifts = ((self.places[other][0] - top, self.places[other][1] - left) for other in seen)
        found = [near_patches(self.grid, std, shift=shift, device=self.tokens.device) for shift in shifts]
        return torch.cat(found, dim=1).to(self.tokens.dtype)

    def _by_features(self, index: int, seen: list[int]) -> Tensor:
        """Patches (1, h'w', C) averaged by what another network saw in all windows."""
        assert self.features is not None
        with full_precision(self.features.device.type):
            # Where every window is seen, as in most pictures, nothing is copied.
            every = seen == list(range(len(self.features)))
            keys, values = ((t if every else t[seen]).flatten(0, 1) for t in (self.features, self.values))
            own = self.features[index]
            mean = keys.mean(dim=0).square().sum()
            start = seen.index(index) * len(own)
            number = torch.arange(start, start + len(own), device=own.device)
            parts = [
                self.anchors.weights(number[rows], own[rows], keys, len(seen), mean) @ values
                for rows in parts_of_rows(len(own), len(keys))
            ]
        mixed = torch.cat(parts)[None].to(self.tokens.dtype)
        return self.block.ls_1(self.block.attn.out_proj(mixed))


def _all(side: Tensor) -> Tensor:
    """Heads of several windows as of one, (B, heads, L, d) to (1, heads, B L, d)."""
    return side.transpose(0, 1).flatten(1, 2)[None]


def check_joinable(tower: nn.Module) -> ViTTower:
    """The tower, if its last block can go on with the tokens of all windows.

    Raises:
        NoReadOutError: If it cannot.
    """
    if type(tower) is not ViTTower:
        raise NoReadOutError(f'join is for the last block of a CLIP transformer, not of a {type(tower).__name__}.')
    read_out: DenseReadOut = tower.read_out
    terms = set(attention_terms(read_out.attention))
    plain = read_out.layers == 1 and not read_out.parallel and read_out.iterations is None and read_out.keys is None
    inside = read_out.middle is None and not read_out.weights_from and not read_out.ffn_inputs
    inside = inside and not read_out.branch and not read_out.region_weight
    if not (plain and inside and (terms <= _JOINABLE or read_out.attention == 'external')):
        raise NoReadOutError(
            f"join knows attention='external' and sums of {', '.join(sorted(_JOINABLE))} in one last block, "
            'without parallel, iterations, keys, middle, weights_from, ffn_inputs, branch and region_weight; not '
            f"attention='{read_out.attention}' and these settings."
        )
    if tower.deep_prompts is not None:
        raise NoReadOutError(
            'join looks at patches alone, and deep prompts (MaPLe) stand among them: leave join out, or take a CLIP '
            'without.'
        )
    if read_out.as_trained:
        raise NoReadOutError('join needs a last block that is read in another way than it was trained: take a preset.')
    return tower
