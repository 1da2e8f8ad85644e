"""What the embeddings of pixels say beside labels, kept while a picture is labelled: nothing is run twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from denseclip.core.placement import Box, Placement, Windows, size_of, upper_left
from denseclip.core.precision import full_precision

from .pixel_head import PixelGDAHead


@dataclass(frozen=True)
class PixelRequest:
    """What is wanted of the embeddings of pixels.

    Attributes:
        strangeness: How unlike the classes of the model's head they are.
        features: The embeddings themselves.
    """

    strangeness: bool = False
    features: bool = False


@dataclass(frozen=True)
class PixelWindows:
    """Embeddings of the pixels of one picture.

    Attributes:
        placement: Where the picture lies in the padded input.
        boxes: The windows over that.
        features: Of each window, (D, h, w), of any length.
    """

    placement: Placement
    boxes: Sequence[Box]
    features: Sequence[Tensor]


@dataclass
class PixelTrail:
    """Keeps what was asked for of all windows of a batch, in the order in which they are labelled.

    Attributes:
        head: Knows how strange a pixel is; None: nobody asks.
        keeps: Whether embeddings are kept.
    """

    head: PixelGDAHead | None
    keeps: bool
    _features: list[Tensor] = field(default_factory=list)
    _strange: list[Tensor] = field(default_factory=list)

    @classmethod
    def of(cls, model: Any, request: PixelRequest) -> PixelTrail | None:
        """One for a batch that a model is going to label; None where nothing is asked for.

        Raises:
            ValueError: If strangeness is asked for, and the model has no head that knows it.
        """
        if request == PixelRequest():
            return None
        if request.strangeness and not isinstance(model.pixel_head, PixelGDAHead):
            raise ValueError(NEEDS_HEAD)
        return cls(model.pixel_head if request.strangeness else None, request.features)

    def see(self, features: Tensor) -> None:
        """Embeddings of the pixels of some windows, (n, D, h, w)."""
        if self.keeps:
            self._features += list(features)
        if self.head is not None:
            with full_precision(features.device.type):
                self._strange += list(self.head.strangeness(features))

    def leave(self, model: Any, inputs: Tensor, samples: Sequence[Any]) -> Iterator[Tensor | None]:
        """Give the data samples of a labelled batch ``pixel_windows``, if embeddings were asked for.

        Yields:
            For each picture how strange its pixels are, (H, W) in its own size, 0..1; None: nobody asked.
        """
        for n, sample in enumerate(samples):
            placement, boxes, _ = frame(model, inputs, sample)
            mine = slice(n * len(boxes), (n + 1) * len(boxes))  # one call for all pictures, or some for each in turn
            if self.keeps:
                windows = PixelWindows(placement, boxes, self._features[mine])
                sample.set_field(windows, 'pixel_windows', PixelWindows, field_type='metainfo')
            if self.head is None:
                yield None
                continue
            assert placement.padded is not None
            yield placement.finish(Windows(boxes, placement.padded).mean(self._strange[mine]))[0]


NEEDS_HEAD = (
    "background='gda' (--background gda) and unknown (--unknown) need a head of labelled pictures that knows how far "
    "pixels are from its classes: make one with 'denseclip adapt' (--method gda), and give it as head= (--head)."
)


def frame(model: Any, inputs: Tensor, sample: Any) -> tuple[Placement, list[Box], Tensor]:
    """Where a picture lies in the padded input, the windows over that in which it is labelled, and that input.

    Args:
        model: A segmentor with ``has_pixel_features``.
        inputs: Preprocessed pictures of one size, (N, 3, H, W).
        sample: Meta information of one of them.
    """
    slide = model.test_cfg.get('mode', 'whole') == 'slide'
    pads = hasattr(model, 'pad') and not getattr(model, 'stretch', False)
    padded = model.pad(inputs, model.test_cfg.crop_size if slide else None) if pads else inputs
    placement = Placement.of(sample.metainfo, size_of(inputs), size_of(padded))
    boxes = model._windows(padded)[0] if slide else [upper_left(size_of(padded))]
    return placement, boxes, padded
