"""A module whose weights a config names."""

from __future__ import annotations

from mmengine.model import BaseModule

from denseclip.core.lazy_weights import LazyWeights
from denseclip.models.clip_weights import Pretrained


class PretrainedModule(LazyWeights, BaseModule):
    """Base of backbones and text encoders: weights from ``pretrained``, or the fresh ones that it was built with.

    Args:
        pretrained: Where :meth:`init_weights` finds weights (see ``denseclip.weights.resolve``); None keeps the fresh
            ones.
    """

    sourced_is_frozen = False
    may_be_fresh = True

    def __init__(self, pretrained: Pretrained | None = None) -> None:
        super().__init__()
        self.pretrained = pretrained
        self.watch_loading()

    @property
    def has_source(self) -> bool:
        """See :class:`LazyWeights`."""
        return self.pretrained is not None

    def read_weights(self) -> None:
        """Load ``pretrained``."""
        if self.pretrained is not None:
            self.load_pretrained(self.pretrained)

    def init_weights(self) -> None:
        """Load ``pretrained``, once."""
        self.need_weights()
        self._is_init = True

    def load_pretrained(self, pretrained: Pretrained) -> None:
        """Load weights from a source."""
        raise NotImplementedError
