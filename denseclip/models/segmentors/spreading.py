"""Scores of all windows of a picture spread over one graph of their patches (LPOSS)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from denseclip.clip.preprocess import PreprocessSpec
from denseclip.core.placement import Placement, resize, size_of, upper_left
from denseclip.models.functional.label_propagation import patch_graph, spread_over_patches, spread_over_pixels
from denseclip.models.functional.pictures import denormalize_pictures
from denseclip.models.providers.base import AffinityProvider

from .score_maps import ScoreMaps


@dataclass(frozen=True)
class LabelPropagation:
    """How scores travel, see :func:`denseclip.models.functional.label_propagation.patch_graph`.

    Attributes:
        neighbours: Patches that each patch is joined to, of any window.
        gamma: Power of the cosines of features.
        sigma: Fall with the distance in pixels.
        power: Power of the distance.
        alpha: Part of the scores that travels on.
        iterations: Steps of the solver.
        pixels: Settings of a second graph over pixels (``reach``, ``tau``), ``{}`` for those of LPOSS+; None: there is
            none.
        window_batch: Windows whose features are read at once.
    """

    neighbours: int = 400
    gamma: float = 3.0
    sigma: float = 0.01
    power: float = 1.0
    alpha: float = 0.95
    iterations: int = 10
    pixels: Mapping[str, Any] | None = None
    window_batch: int = 8

    def __post_init__(self) -> None:
        if self.neighbours < 1 or self.iterations < 1 or not 0 <= self.alpha < 1:
            raise ValueError('spread: neighbours and iterations must be 1 or more, alpha from 0 to less than 1.')

    def __call__(
        self, maps: ScoreMaps, picture: Tensor, provider: AffinityProvider, spec: PreprocessSpec, placement: Placement
    ) -> ScoreMaps:
        """Scores after they have travelled.

        Args:
            maps: Scores of one picture's windows; they are resized to the provider's grid if they have another.
            picture: The normalised input, (3, H, W).
            provider: Gives the features of the patches.
            spec: How the picture is normalised.
            placement: Where the picture lies in the input.
        """
        boxes = [upper_left(size_of(picture))] if maps.boxes is None else list(maps.boxes)
        windows = [picture[:, top:bottom, left:right] for top, bottom, left, right in boxes]
        batches = (windows[i : i + self.window_batch] for i in range(0, len(windows), self.window_batch))
        features = torch.cat([provider.features(torch.stack(batch), spec) for batch in batches])
        grid = size_of(features)
        places = torch.cat([_centres(box, grid, picture.device) for box in boxes])
        rows = torch.cat([resize(scores, grid).flatten(1).T for scores in maps.maps])
        graph = patch_graph(
            features.flatten(2).transpose(1, 2).flatten(0, 1),
            places,
            self.neighbours,
            self.gamma,
            self.sigma,
            self.power,
        )
        found = spread_over_patches(graph, rows, self.alpha, self.iterations)
        spread = [part.T.unflatten(1, grid) for part in found.split(grid[0] * grid[1])]
        result = ScoreMaps(spread, maps.boxes)
        return result if self.pixels is None else self._over_pixels(result, picture, spec, placement)

    def _over_pixels(self, maps: ScoreMaps, picture: Tensor, spec: PreprocessSpec, placement: Placement) -> ScoreMaps:
        """The second graph, over what is picture in the input; padding keeps its scores."""
        full = maps.full(placement)
        colours = denormalize_pictures(picture[None], spec)[0].clamp(0, 1)
        refined = spread_over_pixels(
            placement.cut(colours),
            placement.cut(full),
            alpha=self.alpha,
            iterations=self.iterations,
            **(self.pixels or {}),
        )
        top, bottom, left, right = placement.valid or upper_left(size_of(full))
        full[:, top:bottom, left:right] = refined
        return ScoreMaps([full], None)


def _centres(box: tuple[int, int, int, int], grid: tuple[int, int], device: torch.device) -> Tensor:
    """Row and column of the centre of each patch of a window, in pixels of the input, (hw, 2)."""
    top, bottom, left, right = box
    down, across = (
        start + (torch.arange(count, device=device) + 0.5) * (end - start) / count
        for start, end, count in ((top, bottom, grid[0]), (left, right, grid[1]))
    )
    return torch.stack(torch.meshgrid(down, across, indexing='ij'), dim=-1).flatten(0, 1)
