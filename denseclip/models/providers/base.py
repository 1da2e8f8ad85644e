"""The two kinds of plug-ins, as an open-vocabulary model calls them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from denseclip.clip.attention import Affinity
from denseclip.clip.head_affinity import HeadAffinity
from denseclip.clip.preprocess import PreprocessSpec
from denseclip.models.functional.region_scope import RegionMaps


class AffinityProvider(nn.Module):
    """Says which patches of a picture belong together; see ``attention='external'`` of a read-out and ``spread``."""

    @property
    def takes_regions(self) -> bool:
        """Whether regions of the pictures change what it says."""
        return False

    def forward(
        self, images: Tensor, spec: PreprocessSpec, regions: RegionMaps | None = None
    ) -> Affinity | HeadAffinity:
        """Affinity of the patches.

        Args:
            images: Normalised pictures (N, 3, H, W).
            spec: How they are normalised.
            regions: Of these pictures, for providers that take them; None: not known.
        """
        raise NotImplementedError

    def features(self, images: Tensor, spec: PreprocessSpec) -> Tensor:
        """What the affinity is taken from, for graphs over the patches of several pictures.

        Args:
            images: Normalised pictures (N, 3, H, W).
            spec: How they are normalised.

        Returns:
            (N, C, h, w).
        """
        raise NotImplementedError(f'{type(self).__name__} has no features of single patches: take DINOAffinity.')


class RegionProvider(nn.Module):
    """Divides a picture into regions, each of which then takes one label."""

    def forward(self, image: Tensor, spec: PreprocessSpec, size: tuple[int, int], meta: Mapping[str, Any]) -> Tensor:
        """Region number of every pixel; negative numbers belong to no region.

        Args:
            image: Normalised picture (3, H, W), without padding.
            spec: How it is normalised.
            size: Height and width of the result.
            meta: Meta information of the data sample (``img_path`` ...).

        Returns:
            Integers (height, width).
        """
        raise NotImplementedError
