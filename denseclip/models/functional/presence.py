"""Names moved towards the patches of what the picture as a whole seems to show (CASS)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.core.precision import full_precision
from denseclip.core.values import has_values


@dataclass(frozen=True)
class Presence:
    """Object presence of CASS (Kim et al., CVPR 2025); the paper tunes the first three for each set.

    Attributes:
        weight: Share of the whole picture's cosines in those of each patch.
        move: Share of the patches in the name that is moved.
        group: Names nearer than this, by Ward's distance of their embeddings, are a group: one of each is moved.
        near: Patches that a name is moved to.
        of: ``'picture'``: what is there is read from the whole picture; ``'window'``: from each window by itself.
    """

    weight: float = 0.25
    move: float = 0.04
    group: float = 0.09
    near: int = 2
    of: str = 'picture'

    def __post_init__(self) -> None:
        if self.of not in ('picture', 'window'):
            raise ValueError(f"presence: of='{self.of}' is unknown; choose 'picture' or 'window'.")
        if not 0 <= self.weight <= 1 or not 0 <= self.move <= 1 or self.group < 0 or self.near < 1:
            raise ValueError('presence: weight and move must lie between 0 and 1, group be 0 or more, near 1 or more.')

    def groups(self, names: Tensor) -> Tensor:
        """Groups of names (P,), from their embeddings (P, E); see :func:`name_groups`."""
        with full_precision(names.device.type):
            return name_groups(F.normalize(names.float(), dim=-1), self.group)

    def cosines(self, dense: Tensor, pooled: Tensor, names: Tensor, groups: Tensor | None = None) -> Tensor:
        """Cosines of patches with names, some of them moved. Computed in float32 under autocast.

        Args:
            dense: Pixel embeddings.
            pooled: Embeddings of the pictures as a whole, or of one for all windows.
            names: Embeddings of the names.
            groups: Of the names, see :meth:`groups`; None: they are made now.

        Shape:
            - dense: :math:`(N, E, h, w)`; pooled: :math:`(N, E)` or :math:`(1, E)`; names: :math:`(P, E)`
            - result: :math:`(N, P, h, w)`
        """
        groups = self.groups(names) if groups is None else groups
        with full_precision(dense.device.type):
            patches, texts = F.normalize(dense.float().flatten(2), dim=1), F.normalize(names.float(), dim=-1)
            there = F.normalize(pooled.float(), dim=-1) @ texts.T
            plain = texts @ patches
            chosen = likeliest_of_groups(there, groups).expand(len(patches), -1)
            few = plain.gather(1, chosen[..., None].expand(-1, -1, plain.shape[2]))
            nearest = few.topk(min(self.near, plain.shape[2]), dim=2).indices
            rows = patches.transpose(1, 2)
            mean = torch.stack([rows[n][found].mean(dim=1) for n, found in enumerate(nearest)])
            moved = F.normalize((1 - self.move) * texts[chosen] + self.move * F.normalize(mean, dim=-1), dim=-1)
            scores = plain.scatter(1, chosen[..., None].expand_as(few), moved @ patches)
            mixed = scores * (1 - self.weight) + there[..., None] * self.weight
        return mixed.to(dense.dtype).unflatten(2, dense.shape[2:])


def likeliest_of_groups(scores: Tensor, groups: Tensor) -> Tensor:
    """Of each group of columns that with the highest score.

    Args:
        scores: Of the columns.
        groups: Group of each, from 0 without a gap.

    Shape:
        - scores: :math:`(N, P)`; groups: :math:`(P)`; result: :math:`(N, G)`
    """
    count = int(groups.max()) + 1 if has_values(groups) else len(groups)
    owner, shape, last = groups.expand_as(scores), (len(scores), count), scores.shape[1] - 1
    best = scores.new_full(shape, float('-inf')).scatter_reduce(1, owner, scores, 'amax')
    number = torch.arange(last + 1, device=groups.device).expand_as(scores)
    number = number.where(scores == best.gather(1, owner), last)
    return number.new_full(shape, last).scatter_reduce(1, owner, number, 'amin')


def name_groups(names: Tensor, distance: float) -> Tensor:
    """Groups of names by Ward's clustering of cosine distances, (P,), from 0.

    Args:
        names: Unit vectors (P, E).
        distance: Groups that lie farther apart are not joined.
    """
    if len(names) < 2 or not has_values(names):
        return torch.arange(len(names), device=names.device)
    from scipy.cluster.hierarchy import fcluster, linkage  # takes long to import, and only CASS needs it

    apart = (1 - names.double() @ names.double().T).clamp(0, 2)
    upper = torch.triu_indices(len(names), len(names), 1, device=names.device)
    tree = linkage(apart[upper[0], upper[1]].detach().cpu().numpy(), method='ward')
    return torch.as_tensor(fcluster(tree, t=distance, criterion='distance') - 1, device=names.device).long()
