"""Texts that begin alike, run through causal blocks once as far as they are alike.

A token sees what stands before it and nothing else, so its states are those of every text that begins as this one does
up to there. What depends on one token alone (norms, projections, the feed-forward part) is made once for each
beginning; queries, keys and values are then laid out text by text for the attention, which is a small part of the
work. The last block runs for the tokens at the ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from denseclip.core.regions import GATHER, Recompute, runner_of
from denseclip.weights.positions import exporting

from ..blocks import ffn_branch, project_one, split_heads


@dataclass(frozen=True)
class Beginnings:
    """The distinct beginnings of texts; each is named by its last token.

    Attributes:
        tokens: That token, (T,).
        positions: Where it stands, (T,).
        of_text: Beginning at each place of each text, (P, L); behind a text's end any one.
        places: A place of ``of_text``, counted row by row, for each beginning, (T,).
        ends: Beginning that is the whole text, (P,).
        inside: Whether a place belongs to its text, (P, L).
    """

    tokens: Tensor
    positions: Tensor
    of_text: Tensor
    places: Tensor
    ends: Tensor
    inside: Tensor

    @classmethod
    def of(cls, tokens: Tensor, ends: Tensor) -> Beginnings:
        """Find them.

        Args:
            tokens: Ids, padded at the end.
            ends: Place of the last token of each text that counts.

        Shape:
            - tokens: :math:`(P, L)`; ends: :math:`(P,)`
        """
        ids, last = tokens.cpu().numpy().astype(np.int64), ends.cpu().numpy()
        inside = np.arange(ids.shape[1]) <= last[:, None]
        of_text = np.zeros(ids.shape, np.int64)
        found, places, count = [], [], 0
        before = np.zeros(len(ids), np.int64)
        for column in range(int(last.max()) + 1):
            rows = np.flatnonzero(inside[:, column])
            pairs = before[rows] * (ids.max() + 1) + ids[rows, column]
            _, first, which = np.unique(pairs, return_index=True, return_inverse=True)
            of_text[rows, column] = before[rows] = count + which
            found.append(ids[rows[first], column])
            places.append(rows[first] * ids.shape[1] + column)
            count += len(first)
        place = np.concatenate(places)
        whole = of_text[np.arange(len(ids)), last]
        arrays = (np.concatenate(found), place % ids.shape[1], of_text, place, whole, inside)
        return cls(*(torch.from_numpy(array).to(tokens.device) for array in arrays))


def can_share(blocks: Any, tokens: Tensor) -> bool:
    """Whether :func:`ends_of` can run these blocks: nothing is trained, recorded as a graph or run in another way."""
    if torch.is_grad_enabled() or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    if exporting() or tokens.device.type != 'cpu' or tokens.numel() == 0:
        return False  # elsewhere reading the tokens would wait for the device
    return all(type(block) is ResidualAttentionBlock and _runs_as_it_is(block) for block in blocks)


def _runs_as_it_is(block: nn.Module) -> bool:
    """Whether nothing compiles, spreads or wraps it; without gradients there is nothing to compute again."""
    runner = runner_of(block)
    plain = runner is None or (isinstance(runner, Recompute) and runner.compiler is None)
    return plain and GATHER not in block.__dict__


def ends_of(blocks: Any, x: Tensor, texts: Beginnings) -> Tensor:
    """States of the texts' last tokens after causal blocks.

    Args:
        blocks: open_clip's ``ResidualAttentionBlock``.
        x: Vectors of words and positions, for each beginning.
        texts: Which beginning stands where.

    Shape:
        - x: :math:`(T, W)`; result: :math:`(P, W)`
    """
    *rest, last = blocks
    for block in rest:
        attn = block.attn
        mixed = F.linear(block.ln_1(x), attn.in_proj_weight, attn.in_proj_bias)[texts.of_text]
        q, k, v = (split_heads(part, attn.num_heads) for part in mixed.chunk(3, -1))
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = _after_attention(block, x, heads.transpose(1, 2).flatten(2).flatten(0, 1)[texts.places])
    attn, normed = last.attn, last.ln_1(x)
    q = split_heads(project_one(attn, normed[texts.ends], 'q')[:, None], attn.num_heads)
    k, v = (split_heads(project_one(attn, normed, name)[texts.of_text], attn.num_heads) for name in 'kv')
    heads = F.scaled_dot_product_attention(q, k, v, attn_mask=texts.inside[:, None, None])
    return _after_attention(last, x[texts.ends], heads.transpose(1, 2).flatten(1))


def _after_attention(block: nn.Module, x: Tensor, heads: Tensor) -> Tensor:
    walked: Any = block
    x = x + walked.ls_1(walked.attn.out_proj(heads))
    return ffn_branch(block, x, walked.ln_2(x))
