"""Every way to read the last block of a tower, and the same by the modules' own code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from timm.models.eva import EvaBlockPostNorm
from torch import Tensor, nn

from denseclip.clip.attention import Affinity, Guide

BARE = {'residual': False, 'ffn': False}
READ_OUTS: dict[str, dict[str, Any]] = {
    'value': {'attention': 'value'},
    'qq+kk': {'attention': 'qq+kk'},
    'qq, bare': {'attention': 'qq', **BARE},
    'kk+gaussian, bare': {'attention': 'kk', 'gaussian': 1.5, **BARE},
    'aligned, bare': {'attention': 'aligned', **BARE},
    'external, bare': {'attention': 'external', **BARE},
}
"""Settings of ``DenseReadOut`` by a name for tables: MaskCLIP, SCLIP, ClearCLIP, NACLIP, PEARL, ProxyCLIP."""


def affinity(grid: tuple[int, int]) -> Guide:
    """Random likeness of the patches."""
    count = grid[0] * grid[1]
    logits = torch.randn(1, count, count, generator=torch.Generator().manual_seed(5))
    return Guide(affinity=Affinity(logits.masked_fill(logits < 0, float('-inf')), grid))


def _near(grid: tuple[int, int], std: float) -> Tensor:
    """NACLIP's preference, pair by pair."""
    places = [(y, x) for y in range(grid[0]) for x in range(grid[1])]
    far = torch.tensor([[(a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 for b in places] for a in places])
    return torch.exp(-far / (2 * std**2))


def _turned(q: Tensor, k: Tensor, special: int) -> Tensor:
    """PEARL's logits of one head, (L, d) each, by its equations; five steps of Newton and Schulz."""
    weights = q.norm(dim=1, keepdim=True)
    weights[:special] = 0
    weights = weights / (weights.sum() + 1e-6)
    centred_q, centred_k = q - (weights * q).sum(0), k - (weights * k).sum(0)
    matrix, identity = centred_k.T @ centred_q, torch.eye(q.shape[1])
    gram = matrix.T @ matrix
    size = gram.norm().clamp_min(1e-6)
    y, z = gram / size + 1e-6 * identity, identity
    for _ in range(5):
        step = 1.5 * identity - 0.5 * z @ y
        y, z = y @ step, step @ z
    return q @ (k @ matrix @ z / size.sqrt()).T + 0.08 * centred_k @ centred_k.T


def heads_by_hand(
    settings: dict[str, Any], grid: tuple[int, int], guide: Guide | None, special: int
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """What stands in for ``scaled_dot_product_attention``: (N, heads, L, d) three times in, once out."""

    def answer(q: Tensor, k: Tensor, v: Tensor, *_: Any, **__: Any) -> Tensor:
        kind, root = settings['attention'], q.shape[-1] ** -0.5
        if kind == 'value':
            return v
        if kind == 'external':
            assert guide is not None and guide.affinity is not None
            patches = guide.affinity.logits.softmax(-1)[:, None] @ v[:, :, special:]
            return torch.cat([v[:, :, :special], patches], dim=2)
        if kind == 'aligned':
            flat = [_turned(a, b, special) for a, b in zip(q.flatten(0, 1), k.flatten(0, 1), strict=True)]
            return (torch.stack(flat).unflatten(0, q.shape[:2]) * root).softmax(-1) @ v
        bias = torch.zeros(q.shape[2], q.shape[2])
        if 'gaussian' in settings:
            bias[special:, special:] = _near(grid, settings['gaussian'])
        parts = {'q': q, 'k': k}
        terms = [parts[term[0]] for term in kind.split('+')]
        return sum(((t @ t.transpose(-1, -2)) * root + bias).softmax(-1) @ v for t in terms)

    return answer


@torch.no_grad()
def dense_by_timm(
    visual: Any, images: Tensor, settings: dict[str, Any], grid: tuple[int, int], guide: Guide | None = None
) -> Tensor:
    """Pixel embeddings (1, hw, E): timm's own modules run, with other weights inside the last attention alone."""
    trunk, special = visual.trunk, visual.trunk.num_prefix_tokens
    seen: dict[str, Tensor] = {}
    last = trunk.blocks[-1]
    before = last.register_forward_pre_hook(lambda _, args: seen.update(before=args[0]))
    by_hand = heads_by_hand(settings, grid, guide, special)
    plain = torch.nn.functional.scaled_dot_product_attention

    def replaced(q: Tensor, k: Tensor, v: Tensor, *args: Any, **options: Any) -> Tensor:
        return by_hand(q, k, v) if seen.get('before') is not None else plain(q, k, v, *args, **options)

    silent = None
    if not settings.get('ffn', True):
        end = last.norm2 if isinstance(last, EvaBlockPostNorm) else last.mlp  # what the branch ends with
        silent = end.register_forward_hook(lambda _, __, out: torch.zeros_like(out))
    found: dict[str, Tensor] = {}
    after = last.register_forward_hook(lambda _, __, out: found.update(after=out))
    try:
        with patch.object(torch.nn.functional, 'scaled_dot_product_attention', replaced):
            trunk.forward_features(images)
    finally:
        for hook in (before, after, *([silent] if silent is not None else [])):
            hook.remove()
    tokens = found['after'] if settings.get('residual', True) else found['after'] - seen['before']
    tokens = trunk.norm(tokens)[:, special:]
    alone = tokens.flatten(0, 1)[:, None].expand(-1, special + 2, -1)
    return visual.head(trunk.forward_head(alone)).unflatten(0, tokens.shape[:2])


def is_timm(visual: nn.Module) -> bool:
    """Whether an image tower is a transformer of timm."""
    return hasattr(getattr(visual, 'trunk', None), 'blocks')
