"""What may steer the queries of a mask decoder from outside.

A decoder of the suite takes an optional guide and calls it at three places of every layer. The guide returns the
queries to go on with; it may look at anything it holds itself, such as the text prompts of each image. The decoder
knows nothing about it, and without a guide not one operation is added.
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from torch import Tensor

GuidePosition = Literal['before_image', 'after_image', 'after_self']


class QueryGuide(Protocol):
    """Changes the queries of a mask decoder within a layer.

    A guide is told every position of every layer, and returns the queries untouched where it has nothing to say.
    Number and width of the queries stay as they are.
    """

    def __call__(self, layer: int, position: GuidePosition, queries: Tensor, query_pos: Tensor) -> Tensor:
        """The queries to go on with.

        Args:
            layer: index of the decoder layer, from 0.
            position: `before_image` right before the cross-attention to the image, `after_image` right after it,
                `after_self` right after the self-attention of the queries. Where the self-attention comes directly
                before the cross-attention, `after_self` is called first, then `before_image`.
            queries: content of the queries.
            query_pos: position embedding of the queries, the same in all layers; per image or shared.

        Shape:
            queries N×Q×d, query_pos N×Q×d or Q×d → N×Q×d
        """
        ...


class MayBeGuided:
    """Mix-in of hosts whose mask generator takes a guide, which subclasses give."""

    def query_guide(self, batch: int, samples: Sequence[Any] | None) -> QueryGuide | None:
        """What steers the queries; nothing here.

        Args:
            batch: Number of pictures.
            samples: Their data samples, in training with the ground truth.
        """
        del batch, samples
        return None
