"""Scores that travel over a graph of patches, and then of pixels (LPOSS)."""

from __future__ import annotations

from collections.abc import Iterator
from types import EllipsisType

import torch
from torch import Tensor

from denseclip.core.precision import full_precision

from .conjugate_gradient import conjugate_gradient

_ROWS_AT_ONCE = 1024
_MOST_DENSE = 4096
"""Patches of a graph that is a plain matrix: below, 400 neighbours of each take more room as a sparse one."""
_CLASSES_AT_ONCE = 16
Place = tuple[EllipsisType, slice, slice]
"""Which pixels of planes."""


def patch_graph(
    features: Tensor, places: Tensor, neighbours: int = 400, gamma: float = 3.0, sigma: float = 0.01, power: float = 1.0
) -> Tensor:
    """Which patches belong together: by their features, and near ones rather than far ones.

    Source: LPOSS (Stojnic et al., CVPR 2025), section 3.2; constants of ``configs/lposs.yaml`` at e489a74. Computed in
    float32 under autocast, where neighbours would be others and the solver would not converge.

    Args:
        features: One row per patch, of all windows.
        places: Row and column of its centre in the picture, in pixels.
        neighbours: How many of the most alike patches each is joined to.
        gamma: Power of the cosines.
        sigma: Fall with the distance: ``exp(-sigma * distance ** power)``.
        power: See ``sigma``.

    Returns:
        (n, n), symmetric, without loops, divided by the roots of both patches' sums; sparse above 4,096 patches.

    Shape:
        - features: :math:`(n, C)`; places: :math:`(n, 2)`
    """
    with full_precision(features.device.type):
        return _joins(features.float(), places.float(), neighbours, gamma, sigma, power)


def _joins(features: Tensor, places: Tensor, neighbours: int, gamma: float, sigma: float, power: float) -> Tensor:
    unit = torch.nn.functional.normalize(features, dim=1)
    count, near = len(unit), min(neighbours, len(features))
    rows, columns, values = [], [], []
    for start in range(0, count, _ROWS_AT_ONCE):
        here = torch.arange(start, min(start + _ROWS_AT_ONCE, count), device=unit.device)
        cosines, found = (unit[here] @ unit.T).topk(near, dim=1)
        distance = (places[here, None] - places[found]).norm(dim=-1)
        values.append((cosines.clamp_min(0) ** gamma * torch.exp(-sigma * distance**power)).flatten())
        rows.append(here.repeat_interleave(near))
        columns.append(found.flatten())
    row, column, value = (torch.cat(parts) for parts in (rows, columns, values))
    value = value * (row != column)
    both = torch.stack([torch.cat([row, column]), torch.cat([column, row])])
    sums = torch.zeros(count, device=unit.device).index_add_(0, both[0], torch.cat([value, value]))
    root = torch.where(sums > 0, sums, 1.0).rsqrt()
    joined = torch.cat([value, value]) * root[both[0]] * root[both[1]]
    if count <= _MOST_DENSE:
        graph = torch.zeros(count, count, device=unit.device, dtype=joined.dtype)
        return graph.index_put_((both[0], both[1]), joined, accumulate=True)
    return torch.sparse_coo_tensor(both, joined, (count, count), check_invariants=False).coalesce()


def spread_over_patches(graph: Tensor, scores: Tensor, alpha: float = 0.95, iterations: int = 10) -> Tensor:
    """Scores after they have travelled: ``(I - alpha W) x = scores``.

    Source: LPOSS, equation of label propagation; ten steps of the solver as in its code. Computed in float32 under
    autocast.

    Args:
        graph: See :func:`patch_graph`.
        scores: Of the classes.
        alpha: Part that travels on at each step, 0..1.
        iterations: Steps of the solver.

    Shape:
        - graph: :math:`(n, n)`; scores and result: :math:`(n, K)`
    """
    wanted = scores.to(graph.dtype)
    with full_precision(graph.device.type):
        found = conjugate_gradient(lambda x: x - alpha * (graph @ x), wanted, iterations, dims=(0,))
    return found.to(scores.dtype)


def lab_colours(picture: Tensor) -> Tensor:
    """Colours as people see their differences (CIE Lab, D65), each axis divided by 100, 128 and 128.

    Shape:
        - picture: RGB in 0..1, :math:`(3, H, W)`; result: likewise
    """
    linear = torch.where(picture > 0.04045, ((picture.clamp_min(0) + 0.055) / 1.055) ** 2.4, picture / 12.92)
    to_xyz = [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
    with full_precision(picture.device.type):
        xyz = torch.einsum('ij,jhw->ihw', picture.new_tensor(to_xyz), linear)
    relative = xyz / picture.new_tensor([0.95047, 1.0, 1.08883])[:, None, None]
    x, y, z = torch.where(relative > 0.008856, relative.clamp_min(0.008856) ** (1 / 3), 7.787 * relative + 4 / 29)
    return torch.stack([(116 * y - 16) / 100, 500 * (x - y) / 128, 200 * (y - z) / 128])


def spread_over_pixels(
    picture: Tensor, scores: Tensor, reach: int = 6, tau: float = 0.01, alpha: float = 0.95, iterations: int = 10
) -> Tensor:
    """The same over pixels: each is joined to those around it, more the more alike their colours are.

    Source: LPOSS, section 3.3 ("LPOSS+"); constants of ``configs/lposs_plus.yaml`` at e489a74.

    Args:
        picture: RGB in 0..1.
        scores: Of the classes.
        reach: How many pixels away a neighbour may lie along each axis; 6 makes a square of 13.
        tau: Difference of colours at which a join falls to 1 / e.
        alpha: See :func:`spread_over_patches`.
        iterations: Steps of the solver.

    Shape:
        - picture: :math:`(3, H, W)`; scores and result: :math:`(K, H, W)`
    """
    colours = lab_colours(picture.float())
    height, width = colours.shape[1:]
    pairs = list(_pairs(height, width, reach))
    joins = [torch.exp(-(colours[a] - colours[b]).norm(dim=0) / tau) for a, b in pairs]
    sums = torch.zeros(height, width, device=colours.device)
    for (a, b), join in zip(pairs, joins, strict=True):
        sums[a] += join
        sums[b] += join
    root = torch.where(sums > 0, sums, 1.0).rsqrt()
    joins = [join * root[a] * root[b] for (a, b), join in zip(pairs, joins, strict=True)]

    def system(x: Tensor) -> Tensor:
        moved = torch.zeros_like(x)
        for (a, b), join in zip(pairs, joins, strict=True):
            moved[a] += join * x[b]
            moved[b] += join * x[a]
        return x - alpha * moved

    parts = scores.split(_CLASSES_AT_ONCE)
    return torch.cat([conjugate_gradient(system, part.float(), iterations).to(scores.dtype) for part in parts])


def _pairs(height: int, width: int, reach: int) -> Iterator[tuple[Place, Place]]:
    """Pixels and their neighbours at every second offset: the other half are the same pairs the other way round."""
    for dy in range(reach + 1):
        for dx in range(-reach, reach + 1):
            if (dy, dx) > (0, 0) and dy < height and abs(dx) < width:
                rows = slice(0, height - dy), slice(dy, height)
                columns = slice(max(0, -dx), width - max(0, dx)), slice(max(0, dx), width - max(0, -dx))
                yield (..., rows[0], columns[0]), (..., rows[1], columns[1])
