"""Regions of pictures: each takes one label, and they may narrow what patches look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mmseg.structures import SegDataSample
from torch import Tensor

from denseclip.clip.attention import Guide
from denseclip.clip.towers import ImageTower
from denseclip.core.placement import Box, Placement, size_of, upper_left
from denseclip.models.functional.region_scope import RegionMaps


class SeesRegions:
    """Mix-in for models with a region provider.

    Attributes:
        regions: The provider; None: pictures are not divided.
        affinity: Affinity provider, or None.
        in_view: Regions of the pictures, or windows, that the tower reads at present, where the affinity takes some.
    """

    regions: Any
    affinity: Any
    tower: ImageTower
    _guided: bool
    in_view: RegionMaps | None = None
    _in_pictures: RegionMaps | None = None

    @property
    def scoped(self) -> bool:
        """Whether regions narrow what patches look at."""
        return self.regions is not None and bool(getattr(self.affinity, 'takes_regions', False))

    def check_regions(self) -> None:
        """Refuse an affinity that ends at the borders of regions that nobody brings.

        Raises:
            ValueError: With what to give.
        """
        if self.regions is None and getattr(self.affinity, 'takes_regions', False):
            raise ValueError(
                "affinity.scope needs regions of the pictures: give regions=, such as dict(type='ProposedRegions', "
                "masks=dict(type='SuperpixelMasks')), SAMRegions or RegionFiles; or set affinity.scope=None."
            )

    def guide(self, images: Tensor) -> Guide | None:
        """What the pictures add to the attention of the last blocks.

        Raises:
            ValueError: If regions narrow it, and nobody shows those of the pictures.
        """
        if self.affinity is None or not self._guided:
            return None
        if self.scoped and self.in_view is None:
            raise ValueError(
                f'{type(self).__name__} reads pictures within regions (affinity.scope), which are not known here: call '
                'predict(), or set affinity.scope=None.'
            )
        seen = [self.in_view] if self.scoped else []  # not every provider takes regions
        return Guide(affinity=self.affinity(images, self.tower.preprocess, *seen))

    def regions_of(self, image: Tensor, placement: Placement, sample: SegDataSample) -> Tensor | None:
        """Region numbers in the result's size, of the picture as it was before it was flipped."""
        if self.regions is None:
            return None
        picture = placement.turn_back(placement.cut(image))
        return self.regions(picture, self.tower.preprocess, placement.result_size(image), sample.metainfo)

    @contextmanager
    def viewing(
        self,
        inputs: Tensor,
        samples: Sequence[SegDataSample],
        placements: Sequence[Placement],
        regions: Sequence[Tensor | None] | None = None,
    ) -> Iterator[None]:
        """Show the tower the regions of a batch while it reads it, if those narrow what patches look at.

        Args:
            inputs: The padded input, (N, 3, H, W).
            samples: Meta information of the pictures.
            placements: Where they lie in the input.
            regions: Those of the pictures, see :meth:`regions_of`; None: they are looked for if they are needed.
        """
        if self.scoped:
            found = regions or [self.regions_of(*one) for one in zip(inputs, placements, samples, strict=True)]
            size, turned, boxes = size_of(inputs), [], []
            for numbers, placement in zip(found, placements, strict=True):
                assert numbers is not None
                turned.append(placement.turn_back(numbers.long()))  # flipped again, if the input is
                boxes.append(placement.valid or upper_left(size))
            self._in_pictures = RegionMaps.of(turned, boxes, size)
            self.in_view = self._in_pictures
        try:
            yield
        finally:
            self.in_view = self._in_pictures = None

    def look_at(self, boxes: Sequence[Box]) -> None:
        """Show the regions of some windows, window by window."""
        if self._in_pictures is not None:
            self.in_view = self._in_pictures.windows(boxes)
