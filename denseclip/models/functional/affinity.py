"""Which patches belong together: by another network's tokens, or by a first prediction."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def similarity_logits(
    tokens: Tensor, beta: float | None = 1.2, gamma: float = 3.0, mean: Tensor | None = None
) -> Tensor:
    """Attention logits from the cosines of tokens: those below ``beta`` times the mean are not looked at.

    Source: ProxyCLIP, section 3.3, equations 5 to 7.

    Args:
        tokens: Patch tokens of another network.
        beta: Threshold relative to the picture's mean cosine; None: all are looked at.
        gamma: Sharpness.
        mean: Mean cosine that counts instead of each picture's own.

    Shape:
        - tokens: :math:`(N, C, h, w)`; result: :math:`(N, hw, hw)`
    """
    unit = F.normalize(tokens.flatten(2), dim=1)
    cosines = unit.transpose(1, 2) @ unit
    if beta is None:
        return gamma * cosines
    logits = gamma * (cosines - beta * (cosines.mean(dim=(1, 2), keepdim=True) if mean is None else mean))
    # Every token sees itself, also where the cosines are so alike that none exceeds the threshold.
    itself = torch.eye(logits.shape[-1], dtype=torch.bool, device=logits.device)
    return logits.masked_fill((logits < 0) & ~itself, float('-inf'))


def mean_cosine(tokens: Tensor) -> Tensor:
    """Mean cosine of two tokens of one picture, over several pictures, (N, C, h, w) to a number."""
    return F.normalize(tokens.flatten(2), dim=1).mean(dim=2).square().sum(dim=1).mean()


def visible_patches(labels: Tensor) -> Tensor:
    """Which patches of one label see each other: a straight walk between them stays on that label.

    The walk from patch i to patch j has as many steps as a chess king needs, but each step is the M-th part of the way,
    where M is the largest distance on the grid: only the farthest patches are reached, nearer ones are judged by the
    beginning of the way. So does the authors' code, with which the published numbers were made.

    Source: ResCLIP, ``clip/model.py`` of the authors' repository at 0e085f7, ``check_path``.

    Shape:
        - labels: :math:`(N, h, w)`; result: :math:`(N, hw, hw)` bool, entry (i, j)
    """
    height, width = labels.shape[1:]
    device, flat = labels.device, labels.flatten(1)
    index = torch.arange(height * width, device=device)
    place = torch.stack([index // width, index % width]).float()
    start, end = place[:, :, None], place[:, None, :]
    distance = chebyshev_distance(height, width, device)
    seen = flat[:, :, None] == flat[:, None]
    farthest = max(height, width) - 1
    for step, share in enumerate(torch.linspace(0, 1, farthest + 1, device=device)):
        here = (start * (1 - share) + end * share).round().long()
        same = flat[:, here[0] * width + here[1]] == flat[:, :, None]
        seen = seen & (same | (distance < step))
    return seen


def chebyshev_distance(height: int, width: int, device: torch.device) -> Tensor:
    """Steps of a chess king between the patches of a grid, (hw, hw)."""
    rows, columns = (torch.arange(n, device=device) for n in (height, width))
    by_row, by_column = ((t[:, None] - t[None]).abs() for t in (rows, columns))
    return torch.maximum(by_row[:, None, :, None], by_column[None, :, None, :]).flatten(2).flatten(0, 1)


def semantic_prior(labels: Tensor, std: float = 5.0) -> Tensor:
    """Attention to patches of the same label in a first prediction: most to those without another label in between.

    Patches of the label behind another one count ``exp(-d / d_max)`` for the distance d; each row is then blurred along
    the patches by a Gaussian and made to sum up to 1. The class token takes no part (row and column of zeros).

    Source: ResCLIP, section 3.3 (semantic feedback refinement). The paper leaves the order of the steps, the walk and
    the constants open; those here are the authors' code's (``clip/model.py`` at 0e085f7, ``generate_attention_sfr``).

    Args:
        labels: Label of each patch.
        std: Standard deviation of the blur, in patches of the flattened grid. Its kernel ends after three of them, and
            is no wider than the grid has patches.

    Shape:
        - labels: :math:`(N, h, w)`; result: :math:`(N, 1 + hw, 1 + hw)`
    """
    height, width = labels.shape[1:]
    device = labels.device
    distance = chebyshev_distance(height, width, device).float()
    flat = labels.flatten(1)
    decay = torch.exp(-distance / max(height - 1, width - 1, 1))
    weights = torch.where(visible_patches(labels), 1.0, decay) * (flat[:, :, None] == flat[:, None])
    radius = min(height * width, int(6 * std + 1)) // 2
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32, device=device)
    kernel = torch.exp(-(offsets**2) / (2 * std**2))
    blurred = F.conv1d(weights.flatten(0, 1).unsqueeze(1), kernel[None, None], padding=radius).squeeze(1)
    rows = blurred / blurred.sum(dim=-1, keepdim=True)
    return F.pad(rows.unflatten(0, (labels.shape[0], -1)), (1, 0, 1, 0))
