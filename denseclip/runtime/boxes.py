"""An exported detector: pictures in, objects out."""

from __future__ import annotations

from typing import Any, overload

import numpy as np

from denseclip.apis.detection import Detections
from denseclip.apis.errors import UserError
from denseclip.apis.images import ChannelOrder, ImageLike, Images, Picture, pictures_of
from denseclip.runtime.kinds import Boxes
from denseclip.runtime.pictures import prepare
from denseclip.runtime.word_model import RuntimeWordModel


class RuntimeBoxModel(RuntimeWordModel):
    """An exported RetinaNet or Mask R-CNN, which tells apart its own classes alone; see :class:`RuntimeWordModel`.

    Attributes:
        score: Least confidence of an object where a call says none, 0..1.
    """

    gives = 'boxes'
    task = 'instance'

    def _begin(self) -> None:
        self._rule: Boxes = self.manifest.rule
        self.score = self._rule.least_score

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.vocabulary.names

    @overload
    def detect(
        self, image: ImageLike, score: float | None = None, *, channel_order: ChannelOrder | None = None
    ) -> Detections: ...

    @overload
    def detect(
        self, image: Images, score: float | None = None, *, channel_order: ChannelOrder | None = None
    ) -> list[Detections]: ...

    def detect(self, image: Any, score: float | None = None, *, channel_order: ChannelOrder | None = None) -> Any:
        """Find objects in a picture, or in several, as ``denseclip.detect`` does.

        Args:
            image: A file, bytes, a Pillow image or an array (RGB), or a list of them.
            score: Least confidence of an object, 0..1; None: :attr:`score`. The model's own may be higher.
            channel_order: ``'bgr'`` for arrays of OpenCV.

        Returns:
            What was found, surest first; a list of it for several pictures.

        Raises:
            UnreadableImageError: If a file cannot be read.
            UserError: If it is no picture, or the score is no number between 0 and 1.
        """
        least = self.score if score is None else score
        if isinstance(least, bool) or not isinstance(least, int | float) or not 0 <= least <= 1:
            raise UserError(f'the least score is {least!r}; it must be a number between 0 and 1.')
        pictures, several = pictures_of(image, channel_order)
        found = [self._detect(picture).above(least) for picture in pictures]
        return found if several else found[0]

    def _find(self, image: Any, *args: Any, **options: Any) -> Any:
        return self.detect(image, *args, **options)

    def _detect(self, picture: Picture) -> Detections:
        """All objects above the model's own least score."""
        size = picture.rgb.shape[0], picture.rgb.shape[1]
        inputs, (_, height, _, width) = prepare(picture.rgb, self.manifest.picture)
        feeds = {
            'images': inputs,
            'size': np.array([height, width], dtype=np.float32),
            'least': np.array([self._rule.score], dtype=np.float32),
        }
        if self.manifest.words is not None:
            text = self._asked(self.vocabulary).text
            assert text is not None
            feeds['text'] = text
        names = ['boxes', 'scores', 'labels', *(['masks'] if self._rule.mask is not None else [])]
        boxes, scores, labels, *more = self.model.run(names, feeds)
        order = np.argsort(-scores, kind='stable')[: self._rule.most if self._rule.most > 0 else None]
        scale = np.array([width / size[1], height / size[0]] * 2, dtype=np.float32)
        boxes = boxes[order] / scale
        masks = None
        if self._rule.mask is not None:
            masks = paste(more[0][order], boxes, size, self._rule.mask)
        palette = np.array(self.manifest.palette, dtype=np.uint8).reshape(-1, 3)
        return Detections(boxes, labels[order], scores[order], masks, self.names, palette, picture.rgb, picture.source)


def paste(shares: np.ndarray, boxes: np.ndarray, size: tuple[int, int], least: float) -> np.ndarray:
    """Masks of whole pictures from those inside of boxes, resized bilinearly; nothing lies outside of a box.

    Args:
        shares: Probabilities inside of each box.
        boxes: ``x1, y1, x2, y2`` in the picture.
        size: Height and width of the picture.
        least: Least probability of a pixel of the object.

    Shape:
        - shares: :math:`(n, h, w)`; boxes: :math:`(n, 4)`; result: :math:`(n, H, W)`, bool
    """
    found = np.zeros((len(shares), *size), dtype=bool)
    for mask, share, (left, top, right, bottom) in zip(found, shares, boxes, strict=True):
        down, rows = _places(top, bottom, share.shape[0], size[0])
        across, columns = _places(left, right, share.shape[1], size[1])
        mask[rows, columns] = down @ share @ across.T >= least
    return found


def _places(start: float, stop: float, count: int, length: int) -> tuple[np.ndarray, slice]:
    """Weights (pixels, count) of the cells of a box for the pixels around it, and which pixels these are."""
    first, last = max(int(np.floor(start)) - 1, 0), min(int(np.ceil(stop)) + 1, length)
    centres = np.arange(first, last, dtype=np.float32) + np.float32(0.5)
    with np.errstate(divide='ignore', invalid='ignore'):
        places = (centres - start) / (stop - start) * count - np.float32(0.5)
    places = np.nan_to_num(np.where(np.isinf(places), (count - 1) / 2, places), nan=-1.0)  # MMDetection, without a side
    near = 1 - np.abs(places[:, None] - np.arange(count))
    return near.clip(0).astype(np.float32), slice(first, last)
