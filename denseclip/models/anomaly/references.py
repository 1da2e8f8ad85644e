"""Good pictures, or the pictures themselves, say what is usual: no words, no training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor

from denseclip.models.functional.anomaly_scores import smooth, upsample
from denseclip.models.functional.mutual_scores import interval_mean, jump_limit, peer_distances, without_accomplices
from denseclip.models.functional.patch_memory import PatchMemory
from denseclip.models.functional.subspace import PatchMoments, Subspace

from .answers import MAP_SIZES, AnswersPictures, PictureScore, content_key
from .patch_trunk import PatchTrunk

_TOP = 0.01
_TURNS = 4
_CHUNK = 2**22  # pairs of places at once: 16 MB of distances, 64 MB of steps


class ComparesPictures(AnswersPictures):
    """What both share: patches of a trunk, pictures known again by their content, a map and its highest places.

    Args:
        trunk: See :class:`~.patch_trunk.PatchTrunk`.
        image_size: Pictures are resized to about this many pixels squared, in their aspect ratio.
        grid: See :class:`~.patch_trunk.PatchTrunk`.
        map_size: See :class:`~.answers.AnswersPictures`.
        object_name: What pictures show; for the report alone.
        data_preprocessor: MMEngine data preprocessor; by default one with the trunk's normalisation.
        init_cfg: MMEngine initialisation config.
    """

    even = None
    weights_named_by = ('trunk',)

    def __init__(
        self,
        trunk: Mapping[str, Any],
        image_size: int = 256,
        grid: str = 'finest',
        map_size: str = 'original',
        object_name: str = 'part',
        data_preprocessor: Any = None,
        init_cfg: Any = None,
    ) -> None:
        if map_size not in MAP_SIZES:
            raise ValueError(f'map_size="{map_size}" is unknown; choose from {", ".join(MAP_SIZES)}.')
        patches = PatchTrunk(trunk, grid)
        if data_preprocessor is None:
            data_preprocessor = dict(type='ImgDataPreprocessor', bgr_to_rgb=True, **patches.preprocess.as_255())
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.patches, self.image_size, self.map_size, self.object_name = patches, image_size, map_size, object_name
        self.domain: str | None = None
        self.defects: Any = None

    def set_object(self, name: str, domain: str | None = None, defects: Any = None) -> None:
        """Say what the pictures show, for the report; pictures are compared with pictures, not with words."""
        if not name.strip():
            raise ValueError('an object needs a name')
        self.object_name, self.domain, self.defects = name, domain, defects

    def input_shape(self, height: int, width: int) -> tuple[int, int]:
        """Size (height, width) that a picture is to be resized to: its aspect ratio up to 8 : 1, whole patches."""
        step, side = self.patches.multiple, self.image_size
        ratio = min(max(height / width, 1 / 8), 8.0) ** 0.5
        high, wide = (max(2, round(length / step)) * step for length in (side * ratio, side / ratio))
        return high, wide

    def patches_of(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Patches (P, C) of a normalised picture (1, 3, H, W), row by row, and the grid (h, w)."""
        features = self.patches(image)[0]
        return features.flatten(1).T.contiguous(), (features.shape[1], features.shape[2])

    def answer(self, scores: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> PictureScore:
        """A map from scores of patches (P,), and the mean of its highest hundredth.

        Source of the score: SubspaceAD's ``mtop1p``.
        """
        low = smooth(scores.view(1, 1, *grid))
        highest = low.flatten().topk(max(1, int(low.numel() * _TOP))).values
        return PictureScore(upsample(low, size, align_corners=False)[0, 0], highest.mean())


@MODELS.register_module()
class ReferenceInspector(ComparesPictures):
    """A part is compared with good ones: distance from the subspace of their patches, and from the nearest patch.

    The two distances are multiplied (geometric mean), so that neither scale nor spread of the trunk's features counts.
    A picture that is a reference itself is compared with the others alone: good pictures can be measured, and tell the
    threshold, without vouching for themselves.

    Args:
        trunk: See :class:`ComparesPictures`.
        variance: Which share of the variance the subspace keeps.
        capacity: Most patches in the memory.
        turns: Also take references turned by 90, 180 and 270 degrees, for parts that lie as they like.
        **kwargs: Arguments of :class:`ComparesPictures`.

    Source: SubspaceAD (CVPR 2026) and PatchCore (CVPR 2022).
    """

    def __init__(
        self,
        trunk: Mapping[str, Any],
        variance: float = 0.99,
        capacity: int = 10_000,
        turns: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(trunk, **kwargs)
        self.variance, self.capacity, self.turns = variance, capacity, turns
        self.forget_references()

    def forget_references(self) -> None:
        """Start anew."""
        self.memory = PatchMemory(self.capacity)
        self.numbers: dict[str, int] = {}
        self._moments: PatchMoments | None = None
        self._subspace: Subspace | None = None

    @property
    def references(self) -> int:
        """Number of distinct good pictures."""
        return len(self.numbers)

    @property
    def leaves_out(self) -> bool:
        """Whether a reference can be scored without itself: there are others, and a memory without holes then."""
        return self.references > 1 and not self.memory.reduced

    def holds(self, image: Tensor) -> bool:
        """Whether a normalised picture (3, H, W) is a reference."""
        return content_key(image) in self.numbers

    @torch.no_grad()
    def set_references(self, images: Sequence[Tensor]) -> None:
        """Give good pictures, which are taken in an order of their content, so that theirs does not matter.

        Args:
            images: Normalised pictures (3, H, W) of any sizes; each is asked for twice, and none is kept.

        Raises:
            ValueError: If there is none.
        """
        self.forget_references()
        keyed = {content_key(image): place for place, image in enumerate(images)}
        if not keyed:
            raise ValueError('references need at least one good picture')
        for number, key in enumerate(sorted(keyed)):
            self.numbers[key] = number
            for patches in self._turned(images[keyed[key]][None]):
                self.memory.add(patches, number)
                moments = PatchMoments.of(patches)
                self._moments = moments if self._moments is None else self._moments + moments
        assert self._moments is not None
        self._subspace = self._moments.subspace(self.variance)

    def _turned(self, image: Tensor) -> Iterable[Tensor]:
        for turn in range(_TURNS if self.turns else 1):
            yield self.patches_of(torch.rot90(image, turn, dims=(2, 3)))[0]

    def score_picture(self, image: Tensor, name: str) -> PictureScore:
        """Raw map and score of one picture.

        Raises:
            ValueError: Without references.
        """
        if self._subspace is None or self._moments is None:
            raise ValueError('ReferenceInspector has no good pictures yet: call set_references() first.')
        patches, grid = self.patches_of(image)
        own, subspace = self.numbers.get(content_key(image[0])), self._subspace
        if own is not None and self.references > 1:
            moments = self._moments
            for turned in self._turned(image):
                moments = moments - PatchMoments.of(turned)
            subspace = moments.subspace(self.variance)
        else:
            own = None
        scores = (subspace.residual(patches) * self.memory.distances(patches, but=own)).sqrt()
        return self.answer(scores, grid, (image.shape[-2], image.shape[-1]))


@MODELS.register_module()
class BatchInspector(ComparesPictures):
    """Parts judge one another: a patch is usual if most other pictures have one like it.

    Args:
        trunk: See :class:`ComparesPictures`.
        share: Which part of the other pictures has to have a patch like it.
        peers: Most pictures that each is compared with; which ones is told by their content alone.
        guard: Do not let pictures with the same defect vouch for one another.
        **kwargs: Arguments of :class:`ComparesPictures`.

    Source: MuSc (ICLR 2024), the guard after CoDeGraph.
    """

    def __init__(
        self,
        trunk: Mapping[str, Any],
        share: float = 0.3,
        peers: int = 100,
        guard: bool = True,
        grid: str = 'coarsest',
        **kwargs: Any,
    ) -> None:
        super().__init__(trunk, grid=grid, **kwargs)
        self.share, self.most_peers, self.guard = share, peers, guard
        self.peers: dict[str, Tensor] = {}

    @property
    def references(self) -> int:
        """Number of distinct pictures that are compared with."""
        return len(self.peers)

    @torch.no_grad()
    def set_references(self, images: Sequence[Tensor]) -> None:
        """Give all pictures of the batch.

        Args:
            images: Normalised pictures (3, H, W) of any sizes; those that are compared with are asked for twice.

        Raises:
            ValueError: If there is none.
        """
        keyed = {content_key(image): place for place, image in enumerate(images)}
        if not keyed:
            raise ValueError('a batch needs at least one picture')
        chosen = sorted(keyed)[: self.most_peers]
        self.peers = {key: self.patches_of(images[keyed[key]][None])[0] for key in chosen}

    def score_picture(self, image: Tensor, name: str) -> PictureScore:
        """Raw map and score of one picture; one that has no other is judged by its own other places.

        Raises:
            ValueError: Without pictures.
        """
        if not self.peers:
            raise ValueError('BatchInspector has no pictures yet: call set_references() first.')
        patches, grid = self.patches_of(image)
        own = content_key(image[0])
        others: Sequence[Tensor] = [self.peers[key] for key in sorted(self.peers) if key != own]
        if not others:
            return self.answer(_own_places(patches, grid), grid, (image.shape[-2], image.shape[-1]))
        distances = peer_distances(patches, others)
        if self.guard and len(others) >= 4:
            distances = without_accomplices(distances, jump_limit(distances.sort(dim=1).values))
        return self.answer(interval_mean(distances, self.share), grid, (image.shape[-2], image.shape[-1]))


def _own_places(patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """Distance of every patch to the nearest one of the same picture that is no neighbour of its own."""
    rows, columns = torch.meshgrid(*(torch.arange(n, device=patches.device) for n in grid), indexing='ij')
    places = torch.stack([rows.flatten(), columns.flatten()], dim=1)
    step, nearest = max(1, _CHUNK // len(patches)), []
    for part, here in zip(patches.split(step), places.split(step), strict=True):
        close = (here[:, None] - places[None]).abs().amax(dim=2) <= 1
        nearest.append(torch.cdist(part, patches).masked_fill(close, float('inf')).amin(dim=1))
    distances = torch.cat(nearest)
    return torch.where(distances.isfinite(), distances, torch.zeros_like(distances))
