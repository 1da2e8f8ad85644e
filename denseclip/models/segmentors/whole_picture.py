"""What windows of a picture know of the whole of it."""

from __future__ import annotations

from typing import Any

from mmseg.structures import SegDataSample
from torch import Tensor

from .label_inference import LabelMapInference
from .score_maps import ScoreMaps
from .word_scoring import Comparison


class WholePictureInference(LabelMapInference):
    """Mix-in: sliding windows with the image embedding of the whole picture, where ``post.presence`` asks for it."""

    post: Any
    tower: Any
    _of_picture: Tensor | None = None
    """Embedding (1, E) of the picture whose windows are run."""

    def _slide(self, inputs: Tensor, sample: SegDataSample) -> tuple[ScoreMaps, list[Comparison] | None]:
        """See :class:`LabelMapInference`."""
        presence = self.post.presence_settings
        if presence is None or presence.of == 'window':
            return super()._slide(inputs, sample)
        self.need_weights()  # type: ignore[attr-defined]
        self._of_picture = self.tower.pooled_of_tokens(self.tower.embed(inputs)[0])
        try:
            return super()._slide(inputs, sample)
        finally:
            self._of_picture = None
