"""How anomaly models answer MMEngine: pictures one by one, a map and a score each, as data samples."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from torch import Tensor

from denseclip.core.placement import Placement, resize, size_of
from denseclip.structures import AnomalyDataSample

MAP_SIZES = ('original', 'input')


@dataclass
class PictureScore:
    """Raw answer for one picture.

    Attributes:
        map: Score of every pixel of the network's input, (H, W).
        score: Score of the picture, no dimensions.
    """

    map: Tensor
    score: Tensor


class AnswersPictures(BaseModel):
    """Scores pictures one by one, so that a picture's result is the same bit for bit whatever else is in its batch.

    Attributes:
        object_name: What pictures show whose data sample does not say it.
        map_size: ``'original'``: maps have the size of the picture file. ``'input'``: of the network's input.
        even: Raw score at which a picture is neither usual nor unusual; None where the model has no such score.
    """

    object_name: str | None = None
    map_size: str = 'original'
    even: float | None = 0.5

    def score_picture(self, image: Tensor, name: str) -> PictureScore:
        """Raw map and score of one normalised picture (1, 3, H, W) that shows an object of this name."""
        raise NotImplementedError

    def forward(
        self,
        inputs: Tensor | Sequence[Tensor],
        data_samples: Sequence[AnomalyDataSample] | None = None,
        mode: str = 'tensor',
    ) -> Any:
        """MMEngine's entry: ``'predict'`` data samples, ``'loss'`` losses, ``'tensor'`` a list of raw scores."""
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'tensor':
            return self.score(inputs, data_samples)
        raise ValueError(f'mode="{mode}" is unknown; choose from predict, loss, tensor.')

    def loss(self, inputs: Any, data_samples: Any) -> dict[str, Tensor]:
        """Losses of a batch; most anomaly models have none."""
        raise NotImplementedError(f'{type(self).__name__} is not trained: it is used as it is, for testing only.')

    def score(
        self, inputs: Tensor | Sequence[Tensor], data_samples: Sequence[AnomalyDataSample] | None = None
    ) -> list[PictureScore]:
        """Raw maps and scores; nothing here depends on the values, so it runs on any device, ``meta`` included.

        Args:
            inputs: Normalised pictures, (N, 3, H, W), or a list of (3, H, W) of any sizes.
            data_samples: One per picture; their ``img_shape`` cuts padding off, their names choose the prompts.
        """
        samples: Sequence[AnomalyDataSample | None] = data_samples or [None] * len(inputs)
        return [
            self.score_picture(without_padding(picture, sample)[None], self.name_in(sample))
            for picture, sample in zip(inputs, samples, strict=True)
        ]

    @torch.no_grad()
    def predict(
        self, inputs: Tensor | Sequence[Tensor], data_samples: Sequence[AnomalyDataSample] | None = None
    ) -> list[AnomalyDataSample]:
        """Anomaly maps and scores.

        Args:
            inputs: See :meth:`score`.
            data_samples: Filled and returned; made when None. ``ori_shape`` is the size of the maps.

        Raises:
            ValueError: If neither the model nor a data sample says what a picture shows.
        """
        samples = list(data_samples) if data_samples is not None else [AnomalyDataSample() for _ in inputs]
        scores = self.score(inputs, samples)
        values = torch.stack([s.score for s in scores]).tolist() if scores else []
        for sample, answer, value in zip(samples, scores, values, strict=True):
            size = tuple(sample.get('ori_shape', answer.map.shape))[:2]
            pixels = answer.map[None]
            if self.map_size == 'original':
                pixels = resize(pixels, size)
            sample.anomaly_map = PixelData(data=pixels)
            sample.pred_score = value
        return samples

    def name_in(self, sample: AnomalyDataSample | None) -> str:
        """What a picture shows: its ``object_name``, else the model's object, else its ``category``."""
        name = (sample is not None and sample.get('object_name')) or self.object_name
        name = name or (sample is not None and sample.get('category'))
        if not name:
            raise ValueError(
                f"{type(self).__name__} does not know what the pictures show: call set_object('metal nut'), or give "
                'the data samples an object_name or a category.'
            )
        return str(name)


def without_padding(picture: Tensor, sample: AnomalyDataSample | None) -> Tensor:
    """The picture (3, H, W) without what a data preprocessor added at the right and bottom."""
    return Placement.of({} if sample is None else sample.metainfo, size_of(picture)).cut(picture).contiguous()


def content_key(image: Tensor) -> str:
    """What tells a picture (3, H, W) from all others, whatever its name."""
    content = image.detach().float().cpu().contiguous().numpy()
    return hashlib.sha256(repr(content.shape).encode() + content.tobytes()).hexdigest()
