"""The attention of a read-out's last blocks: which tokens are compared, and what a picture adds to that.

All training-free dense methods change this place, and :func:`denseclip.clip.blocks.self_attention` chooses. What they
share is linear in the attention weights, so sums of several softmaxes are sums of fused attention calls and no
(heads, L, L) matrix is kept unless a method asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.weights.positions import exporting, resize_by_matrices

from .alignment import Alignment, aligned_sides
from .head_affinity import HeadAffinity
from .likeness import Likeness
from .nearness import near_patches

SELF_TERMS = ('qk', 'qq', 'kk', 'vv', 'aligned', 'alike')
OTHER_KINDS = ('value', 'prior', 'external')


def attention_terms(kind: str) -> tuple[str, ...]:
    """The comparisons that a kind of attention adds up, such as ``('qq', 'kk')`` of ``'qq+kk'``.

    Args:
        kind: One of ``'value'`` (every token attends to itself only), ``'prior'`` (no comparison, only what is added to
            it), ``'external'`` (weights from another network), or terms of ``qk``, ``qq``, ``kk``, ``vv``, ``aligned``
            (PEARL: queries with keys turned towards them), ``alike`` (SC-CLIP: tokens of a middle block) joined by
            ``+``, each with a softmax of its own.

    Raises:
        ValueError: If it is none of these.
    """
    if kind in OTHER_KINDS:
        return (kind,)
    terms = tuple(kind.split('+'))
    if not set(terms) <= set(SELF_TERMS) or len(set(terms)) != len(terms):
        raise ValueError(
            f"attention='{kind}' is unknown; choose from {', '.join(OTHER_KINDS)}, or join {', '.join(SELF_TERMS)} "
            "with '+', such as 'qq+kk'."
        )
    return terms


@dataclass(frozen=True)
class Affinity:
    """Which patches belong together, as another network sees it; replaces a block's own attention.

    Attributes:
        logits: Attention logits between patches; ``-inf`` where a patch must not look.
        grid: Height and width of the patches; values are resized to it, so the read-out gets this size.
        regions: Which patches belong to each region, the first of none; None: there are no regions.

    Shape:
        - logits: :math:`(N, hw, hw)`; regions: :math:`(N, R, hw)`, bool
    """

    logits: Tensor
    grid: tuple[int, int]
    regions: Tensor | None = None


@dataclass(frozen=True)
class Guide:
    """What a picture adds to the attention of the last blocks.

    The weights become ``gain * softmax(scale * logits + bias) + mix``.

    Attributes:
        affinity: For ``attention='external'``.
        bias: Added before the softmax, broadcastable to (N, heads, L, L), class token included.
        mix: Added after the softmax, broadcastable likewise.
        scale: Factor of the block's own logits.
        gain: Factor of the softmax.
        likeness: For the term ``'alike'``.
    """

    affinity: Affinity | HeadAffinity | None = None
    bias: Tensor | None = None
    mix: Tensor | None = None
    scale: float = 1.0
    gain: float = 1.0
    likeness: Likeness | None = None


def gaussian_bias(
    grid: tuple[int, int],
    std: float,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
    special: int = 1,
) -> Tensor:
    """Preference for near patches: ``exp(-|p_i - p_j|^2 / (2 std^2))``, 0 for the class token.

    Source: NACLIP, section 3.2 (added to the logits, unlike a mask).

    Args:
        grid: Height and width in patches.
        std: Standard deviation in patches.
        dtype: Of the result.
        device: Of the result.
        special: Tokens before the patches, such as the class token.

    Returns:
        (special + hw, special + hw), values 0..1.
    """
    return F.pad(near_patches(grid, std, device=device), (special, 0, special, 0)).to(dtype)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    kind: str,
    *,
    bias: Tensor | None = None,
    scale: float = 1.0,
    causal: bool = False,
    average: bool = False,
    align: Alignment | None = None,
    likeness: Likeness | None = None,
) -> Tensor:
    """Attention output for a kind made of self terms, or for ``'prior'``.

    Args:
        q: Queries.
        k: Keys.
        v: Values.
        kind: See :func:`attention_terms`.
        bias: Added to the logits of every term.
        scale: Factor of the logits, besides ``head_size ** -0.5``.
        causal: A token sees itself and what comes before it.
        average: Mean of the terms instead of their sum.
        align: Settings of ``'aligned'``; None: those of PEARL.
        likeness: What ``'alike'`` looks by.

    Shape:
        - q, k, v and result: :math:`(N, heads, L, C / heads)`
    """
    terms = attention_terms(kind)
    parts = {'q': q, 'k': k, 'v': v}
    factor = scale * q.shape[-1] ** -0.5
    out: Tensor | None = None
    for term in terms:
        if term == 'prior':
            if bias is None:
                raise ValueError("attention='prior' compares nothing: set gaussian, or give a guide with a bias.")
            part = (bias * prior_strength(q, k, factor)).softmax(dim=-1) @ v
        elif term == 'alike':
            if likeness is None:
                raise ValueError("attention='alike' looks by tokens of a middle block: set read_out.middle.")
            part = likeness.attend(v)
        else:
            left, right = aligned_sides(q, k, align) if term == 'aligned' else (parts[term[0]], parts[term[1]])
            only_before = causal and bias is None
            part = F.scaled_dot_product_attention(left, right, v, attn_mask=bias, is_causal=only_before, scale=factor)
        out = part if out is None else out + part
    assert out is not None
    return out / len(terms) if average else out


def prior_strength(q: Tensor, k: Tensor, factor: float) -> Tensor:
    """Factor that brings a prior in 0..1 to the size of the logits it stands for: mean of ``|q_i| |k_j|`` over pairs.

    Source: NACLIP's "neighbourhood only" ablation; the formula reproduces recorded numbers of the authors' code (golden
    fixture ``beyond_last_layer``).

    Shape:
        - q, k: :math:`(N, heads, L, d)`; result: :math:`(N, 1, 1, 1)`
    """
    lengths = (t.norm(dim=-1).mean(dim=-1) for t in (q, k))
    return (torch.stack([*lengths]).prod(dim=0).mean(dim=-1) * factor)[:, None, None, None]


def self_self_attend(
    q: Tensor, k: Tensor, v: Tensor, kind: str, temperature: Tensor, iterations: int, average: bool
) -> Tensor:
    """Attention of tokens over tokens alike in the same projection, on unit vectors that are smoothed first.

    Source: GEM, section 3 (self-self attention with L2 normalisation, adaptive temperature and iterations).

    Args:
        q: Queries.
        k: Keys.
        v: Values.
        kind: Terms of ``qq``, ``kk``, ``vv``.
        temperature: Factor of the cosines, (N, 1, 1, 1).
        iterations: How often the projection is replaced by its own attention output before it is compared.
        average: Mean of the terms instead of their sum.

    Shape:
        - q, k, v and result: :math:`(N, heads, L, C / heads)`
    """
    parts = {'qq': q, 'kk': k, 'vv': v}
    terms = attention_terms(kind)
    total = torch.zeros_like(v)
    for term in terms:
        part = F.normalize(parts[term], dim=-1)
        for _ in range(iterations):
            part = F.normalize(F.scaled_dot_product_attention(part * temperature, part, part, scale=1.0), dim=-1)
        total = total + F.scaled_dot_product_attention(part * temperature, part, v, scale=1.0)
    return total / len(terms) if average else total


def adaptive_temperature(x: Tensor, heads: int) -> Tensor:
    """Factor of the cosines in :func:`self_self_attend`: mean length of the tokens over ``sqrt(head size)``.

    Source: GEM, section 3.3.

    Shape:
        - x: :math:`(N, L, C)`, the input of the attention; result: :math:`(N, 1, 1, 1)`
    """
    return (x.norm(dim=-1).mean(dim=-1) * (x.shape[-1] / heads) ** -0.5)[:, None, None, None]


def resize_values(v: Tensor, source: tuple[int, int], target: tuple[int, int]) -> Tensor:
    """Values of the patches on another grid, bilinearly.

    Shape:
        - v: :math:`(N, heads, hw, d)`; result: :math:`(N, heads, h'w', d)`
    """
    if exporting():
        return resize_by_matrices(v.unflatten(2, source), target).flatten(2, 3)
    if source == target:
        return v
    image = v.transpose(2, 3).flatten(1, 2).unflatten(-1, source)
    image = F.interpolate(image, size=target, mode='bilinear', align_corners=False)
    return image.flatten(2).unflatten(1, (v.shape[1], -1)).transpose(2, 3)
