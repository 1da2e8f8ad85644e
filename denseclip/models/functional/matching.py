"""Pixel-text matching as pure tensor functions (DenseCLIP, Rao et al. 2022, sections 3.2-3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.core.precision import full_precision

from .projected_length import squared_lengths


def visual_context(pooled: Tensor, dense: Tensor) -> Tensor:
    """Build the memory that prompts attend to: the pooled token, then every pixel, neither normalised nor positioned.

    Args:
        pooled: pooled image embedding, (N, E).
        dense: dense image embedding, (N, E, h, w).

    Returns:
        Visual context, (N, 1 + h*w, E).
    """
    return torch.cat([pooled.unsqueeze(1), dense.flatten(2).transpose(1, 2)], dim=1)


def pixel_text_score_map(dense: Tensor, text: Tensor) -> Tensor:
    """Cosine of every pixel with every class text (eq. 2 of the paper; no temperature).

    Args:
        dense: dense image embedding, (N, E, h, w).
        text: class embeddings, (N, K, E) or (1, K, E) when shared by the batch.

    Returns:
        Score map in [-1, 1], (N, K, h, w).
    """
    n, _, h, w = dense.shape
    pixels = F.normalize(dense, dim=1).flatten(2)
    scores = F.normalize(text, dim=-1).expand(n, -1, -1) @ pixels
    return scores.view(n, -1, h, w)


def expected_text_map(scores: Tensor, text: Tensor, tau: float) -> Tensor:
    """Turn K score channels into E channels that mean the same thing for any K.

    Every pixel gets the mean of the unit-length class embeddings under ``softmax(scores / tau)``, scaled to entries of
    order one (a unit vector in E dimensions has entries of order ``E**-0.5``).

    Args:
        scores: cosine score map, (N, K, h, w).
        text: class embeddings, (N, K, E) or (1, K, E).
        tau: temperature of the softmax.

    Returns:
        Expected text embedding of every pixel, (N, E, h, w).
    """
    n, _, h, w = scores.shape
    weights = (scores.flatten(2) / tau).softmax(dim=1)
    directions = F.normalize(text, dim=-1).expand(n, -1, -1).transpose(1, 2)
    return (directions @ weights).view(n, -1, h, w) * text.shape[-1] ** 0.5


def merge_prompts(embeddings: Tensor, class_index: Tensor, num_classes: int) -> Tensor:
    """Merge the embeddings of all prompts of a class into one class embedding.

    The direction is the mean of the unit-length prompt embeddings; the length is the mean length, so that a class with
    several names looks to the context decoder like a class with one. A class with one prompt keeps it unchanged.

    Args:
        embeddings: prompt embeddings, (B, P, E).
        class_index: class of every prompt, (P,), values in [0, num_classes); every class occurs.
        num_classes: number of classes K.

    Returns:
        Class embeddings, (B, K, E).
    """
    if embeddings.shape[1] == num_classes:
        return embeddings
    lengths = embeddings.norm(dim=-1, keepdim=True)
    units = embeddings / lengths.clamp_min(1e-12)
    counts = embeddings.new_zeros(num_classes).index_add(0, class_index, embeddings.new_ones(class_index.shape[0]))
    counts = counts.view(1, -1, 1)

    def class_mean(values: Tensor) -> Tensor:
        zeros = values.new_zeros(values.shape[0], num_classes, values.shape[2])
        return zeros.index_add(1, class_index, values) / counts

    merged = F.normalize(class_mean(units), dim=-1) * class_mean(lengths)
    return torch.where(counts == 1, class_mean(embeddings), merged)


def projected_cosine(features: Tensor, weight: Tensor, bias: Tensor, text: Tensor) -> Tensor:
    """Cosine between a linear projection of every pixel and every class text, without forming the projection.

    With ``e = W f + b`` the numerator ``<e, t>`` is a K-channel map of ``f`` and ``|e|**2`` is a quadratic form of
    ``[f; 1]`` under the Gram matrix of ``[W b]``. For C << E (64 channels into a 384-dimensional text space, say) this
    saves most of the work and memory at stride 4 and gives the same value.

    Args:
        features: pixel features f, (N, C, h, w).
        weight: projection W, (E, C).
        bias: projection b, (E,).
        text: class embeddings, (N, K, E) or (1, K, E).

    Returns:
        Cosine map, (N, K, h, w).
    """
    n, _, h, w = features.shape
    flat = features.flatten(2)
    # The quadratic form is a small difference of large terms: it stays in float32 under autocast.
    with full_precision(features.device.type):
        squared = squared_lengths(flat.float(), weight.float(), bias.float())
        inverse_length = squared.clamp_min(1e-12).rsqrt()
    directions = F.normalize(text, dim=-1)
    scores = (directions @ weight).expand(n, -1, -1) @ flat + (directions @ bias).unsqueeze(-1)
    return (scores * inverse_length.to(scores.dtype).unsqueeze(1)).view(n, -1, h, w)


def unit_pixels(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The part of :func:`projected_cosine` that no text takes part in: ``[f; 1] / |e|``.

    Shape:
        - features: :math:`(N, C, h, w)`; result: :math:`(N, C + 1, h, w)`
    """
    affine = torch.cat([weight, bias.unsqueeze(1)], dim=1)  # E, C+1
    pixels = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
    # The quadratic form is a small difference of large terms: it stays in float32 under autocast.
    with full_precision(features.device.type):
        gram = affine.float().t() @ affine.float()
        flat = pixels.float().flatten(2)
        squared = (torch.matmul(gram, flat) * flat).sum(dim=1, keepdim=True)
        inverse_length = squared.clamp_min(1e-12).rsqrt()
    return pixels * inverse_length.to(pixels.dtype).view_as(pixels[:, :1])


def unit_cosine(pixels: Tensor, weight: Tensor, bias: Tensor, text: Tensor) -> Tensor:
    """The rest of :func:`projected_cosine`, from :func:`unit_pixels`.

    Shape:
        - pixels: :math:`(N, C + 1, h, w)`; result: :math:`(N, K, h, w)`
    """
    n, _, h, w = pixels.shape
    affine = torch.cat([weight, bias.unsqueeze(1)], dim=1)
    return ((F.normalize(text, dim=-1) @ affine).expand(n, -1, -1) @ pixels.flatten(2)).view(n, -1, h, w)
